"""Generalised eigenvectors against SciPy, the edit that silences them against what it promises, and a planted
direction.
"""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh, subspace_angles
from torch import nn

from lens.results.dataset import provenance
from lens.subspace import SubspaceError, generalised, principal_angles, statistics
from tests.models import tiny

G = torch.Generator().manual_seed(4)
MEM, REF = torch.randint(1, 97, (20, 16), generator=G), torch.randint(1, 97, (20, 16), generator=G)


class One(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Linear(12, 7)

    def forward(self, x):
        return self.net(x)


def fed(model, x):
    return statistics(model, "net", list(x), run=lambda some: model(torch.stack(list(some))), second_moment=True)


def inputs(seed, direction=None, n=200):
    x = torch.randn(n, 3, 12, generator=torch.Generator().manual_seed(seed)) @ torch.diag(torch.linspace(0.3, 3, 12))
    return (
        x
        if direction is None
        else x + torch.randn(n, 3, 1, generator=torch.Generator().manual_seed(seed + 1)) * direction
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_equal_to_scipy(kind):
    model = tiny(kind)
    mem, ref = (statistics(model, "mlp", ids, second_moment=True) for ids in (MEM, REF))
    made = generalised(mem, ref, eps=0.01)
    assert len(made.values) == 6
    for name, values in made.values.items():
        a, b = mem.second_moment(name).numpy(), ref.second_moment(name).numpy()
        b = b + 0.01 * np.trace(b) / len(b) * np.eye(len(b))
        expected, vectors = eigh(a, b)
        np.testing.assert_allclose(values, expected[::-1], rtol=1e-6, atol=1e-9)
        v = made.vectors[name].numpy()
        np.testing.assert_allclose(v.T @ b @ v, np.eye(len(b)), atol=1e-7)
        np.testing.assert_allclose(a @ v, b @ v * values.numpy(), atol=1e-6 * np.abs(a).max())
        assert abs(np.abs(v[:, 0] @ b @ vectors[:, -1]) - 1) < 1e-6


def test_a_planted_direction_is_the_first_and_the_edit_takes_it_out():
    model, direction = One(), torch.zeros(12)
    direction[0], direction[3] = 3.0, -2.0
    mem, ref = fed(model, inputs(0, direction)), fed(model, inputs(10))
    made = generalised(mem, ref)
    assert float(made.values["net"][0]) > 3 * float(made.values["net"][1])
    pattern = made.patterns["net"][:, 0]
    assert abs(float(torch.cosine_similarity(pattern, direction.double(), dim=0))) > 0.95
    edit = made.edit(model, 1)
    with torch.no_grad():
        before, x = model.net.weight.clone(), direction[None]
        plain = model(x) - model.net.bias
        with edit.applied(model):
            assert float((model(x) - model.net.bias).norm()) < 0.2 * float(plain.norm())
        assert torch.equal(model.net.weight, before)
    assert made.edit(model, above=3.0).about["taken"] == {"net": 1}


def test_what_the_two_projections_promise():
    model = One()
    mem, ref = fed(model, inputs(0, torch.ones(12))), fed(model, inputs(10))
    made, b = generalised(mem, ref, eps=1e-9), ref.second_moment("net")
    x, eye = inputs(99).double().flatten(0, 1), torch.eye(12, dtype=torch.float64)
    vectors, patterns = made.vectors["net"][:, :3], made.patterns["net"][:, :3]

    def cost(p):
        return float(torch.trace((eye - p) @ b @ (eye - p).T))

    oblique, orthogonal = (made.projector("net", 3, how) for how in ("oblique", "orthogonal"))
    for p in (oblique, orthogonal):
        torch.testing.assert_close(p @ p, p, atol=1e-6, rtol=0)
        assert float(((x @ p.T) @ vectors).abs().max()) < 1e-6, "the filters answer 0 on what is left"
    # the oblique one takes the patterns out, more cheaply on reference inputs than any other map that does
    q = torch.linalg.qr(patterns).Q
    assert float((oblique @ patterns).norm()) < 1e-6 < 0.1 < float((orthogonal @ patterns).norm())
    assert cost(oblique) < cost(eye - q @ q.T)
    for seed in range(5):
        other = oblique + torch.randn(12, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) @ (
            eye - q @ q.T
        )
        assert float((other @ patterns).norm()) < 1e-6 and cost(oblique) < cost(other)
    assert cost(orthogonal) < cost(oblique)
    torch.testing.assert_close(
        made.edit(model, 3).new["net"].double(), model.net.weight.detach().double() @ oblique, atol=1e-6, rtol=0
    )


def test_angles():
    model = One()
    a, b = (generalised(fed(model, inputs(s, torch.eye(12)[1] * 9)), fed(model, inputs(10))) for s in (0, 50))
    self_, made = principal_angles(a, a, 3), principal_angles(a, b, 3, draws=200)
    assert float(self_.angle.max()) < 1e-4 and self_.shared.item() == pytest.approx(1)
    q = [torch.linalg.qr(x.vectors["net"][:, :3]).Q.numpy() for x in (a, b)]
    np.testing.assert_allclose(made.angle.values[0], np.degrees(np.sort(subspace_angles(*q))), atol=1e-6)
    assert float(made.angle[0, 0]) < float(made.chance_low[0, 0]) and made.shared_chance.item() == 3 / 12
    assert provenance(made)["kind"] == "principal angles"


def test_refusals():
    model = One()
    mem, ref, few = fed(model, inputs(0)), fed(model, inputs(10)), fed(model, inputs(3, n=2))
    made = generalised(mem, ref, keep=4)
    assert generalised(mem, few).values["net"].isfinite().all()
    for text, call in (
        ("rank-deficient", lambda: generalised(mem, few, eps=0)),
        (
            "second_moment=True",
            lambda: generalised(
                *(statistics(model, "net", [0], run=lambda s: model(torch.ones(1, 2, 12))) for _ in range(2))
            ),
        ),
        ("1 to the 4", lambda: made.basis("net", 5)),
        ("one of them", lambda: made.edit(model)),
        ("so large a ratio", lambda: made.edit(model, above=1e9)),
        ("projection=", lambda: made.projector("net", 1, "skew")),
        ("of weights", lambda: made.edit(nn.Sequential(nn.Linear(2, 2)), 1)),
    ):
        with pytest.raises(SubspaceError, match=text):
            call()
