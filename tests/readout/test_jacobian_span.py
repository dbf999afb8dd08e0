"""Edits along tokens' directions of a Jacobian lens, against plain hooks on a second copy of the model."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.model import Model
from lens.readout.jacobian_lens import JacobianLensError, Span
from tests import models, naive
from tests.models import speaking

TEXTS = [" ".join(f"w{(7 * i + 3 * j * j + i * j) % 96 + 1}" for j in range(14)) for i in range(2)]
FIT = dict(length=12, skip=3, start=None)
TOKENS = ("w5", "w9", "w40")
IDS = torch.tensor([[11, 3, 5, 7, 9, 2]])


@pytest.fixture(scope="module")
def model():
    return speaking("llama")


@pytest.fixture(scope="module")
def fitted(model):
    return lens.jacobian_lens.fit(model, TEXTS, **FIT)


@pytest.fixture(scope="module")
def span(model, fitted):
    return fitted.span(model, 1, TOKENS)


def directions(fitted):
    """By their definition, of length 1."""
    v = models.tiny("llama").lm_head.weight[[5, 9, 40]].double() @ fitted.of(1).double()
    return v / v.norm(dim=1, keepdim=True)


def by_hooks(change, position=slice(None)):
    """Last logits of a second copy whose second layer's output is changed."""
    hf = models.tiny("llama")

    def at(x):
        x = x.clone()
        x[0, position] = change(x[0, position].double()).to(x)
        return x

    undo = naive.hook(hf, "resid_post", 1, at)
    try:
        return hf(IDS).logits[0, -1]
    finally:
        undo()


def coordinates(x, v):
    """By least squares."""
    return torch.linalg.lstsq(v.T, x.T).solution.T


CASES = {
    "all are taken out": (
        lambda span: span.edit("zero"),
        lambda x, v: x - x @ torch.linalg.pinv(v) @ v,
    ),
    "one is set at one token": (
        lambda span: span.edit("replace", 2.0, tokens=9, position=4),
        lambda x, v: x + (2.0 - coordinates(x, v)[..., 1:2]) * v[1],
    ),
    "two are set": (
        lambda span: span.edit("replace", torch.tensor([1.0, -0.5]), tokens=[40, 5]),
        lambda x, v: x + (torch.tensor([-0.5, 1.0]) - coordinates(x, v)[:, [0, 2]]) @ v[[0, 2]],
    ),
    "steering": (
        lambda span: span.edit("add", 3.0, tokens=5, position=-1),
        lambda x, v: x + 3.0 * v[0],
    ),
    "two are exchanged": (
        lambda span: span.swap(5, 9),
        lambda x, v: x - coordinates(x, v) @ v + coordinates(x, v)[:, [1, 0, 2]] @ v,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_edit_is_the_same_as_by_plain_hooks(case, model, fitted, span):
    make, change = CASES[case]
    edit, v = make(span), directions(fitted)
    position = slice(None) if edit.site.position is None else [edit.site.position % 6]
    want = by_hooks(lambda x: change(x, v), position)
    plain = by_hooks(lambda x: x)
    assert (want - plain).abs().max() > 1e-3
    with lens.edited(model, edit):
        got = model(IDS).logits[0, -1]
    torch.testing.assert_close(got, want, atol=1e-4 * want.abs().max().item(), rtol=0)
    # and in a sweep's rows
    view = Model.of(model)
    base = view.record([IDS[0]])
    row = view.unembed(view.run(base, [(0, [edit])], [[5]]).resid)[0]
    torch.testing.assert_close(row, want, atol=1e-4 * want.abs().max().item(), rtol=0)


def test_coordinates_and_the_rest_make_the_state(model, fitted, span):
    x, v = torch.randn(7, 32, generator=torch.Generator().manual_seed(0)), directions(fitted)
    every = torch.arange(3)
    torch.testing.assert_close(span.directions(every).double(), v, atol=1e-6, rtol=0)
    torch.testing.assert_close(span.values(x).double(), coordinates(x.double(), v), atol=1e-4, rtol=1e-4)
    rest = x - span.values(x) @ span.directions(every)
    assert (rest @ v.float().T).abs().max() < 1e-4
    assert span.n_features == 3 and span.tokens == (5, 9, 40) and "3 tokens" in repr(span)


def test_chosen_tokens_have_the_same_span_up_to_the_norms_weight(model, fitted):
    few = lens.jacobian_lens.fit(model, TEXTS, tokens=list(TOKENS), **FIT)
    whole, some = few.span(model, 1), few.span(model, 1, ["w40"])
    v = (models.tiny("llama").lm_head.weight[[5, 9, 40]] * models.tiny("llama").model.norm.weight) @ fitted.of(1)
    torch.testing.assert_close(whole.vectors, v / v.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)
    torch.testing.assert_close(some.vectors[0], whole.vectors[2])
    with pytest.raises(JacobianLensError, match=r"\[7\] are not among"):
        few.span(model, 1, [7])
    with pytest.raises(JacobianLensError, match="layer=2"):
        few.span(model, 2)


def test_coordinates_are_written_while_a_text_goes_on_and_copied_from_a_run(model, span):
    edit = span.edit("add", 40.0, tokens=40)
    with lens.edited(model, edit):
        want = model(IDS).logits[0, -1].argmax().item()
    written = lens.generate(model, "w11 w3 w5 w7 w9 w2", [edit], max_new_tokens=1, start=None)
    assert list(written.ids) == [want]
    pair = lens.Pair("w11 w3 w5 w7 w9 w2", corrupted="w11 w3 w6 w7 w9 w2", answer=" w8", foil=" w12")
    patched = lens.patch(model, pair, lens.Site("feature", span), over=("feature", "position"))
    assert patched["effect"].sizes["feature"] == 3 and np.isfinite(patched["effect"]).all()


def test_random_directions_are_as_long_and_at_the_same_angles(model, fitted, span):
    few = lens.jacobian_lens.fit(model, TEXTS, tokens=list(TOKENS), **FIT)
    for made in (span, few):
        one, same, other = (lens.jacobian_lens.random_like(made, seed=s) for s in (0, 0, 1))
        pick = (lambda s: s.vectors[None]) if isinstance(made, Span) else (lambda s: s.mean)
        for a, b in zip(pick(one), pick(made)):
            torch.testing.assert_close(a @ a.T, b @ b.T, atol=1e-4 * (b @ b.T).abs().max().item(), rtol=0)
        assert torch.equal(pick(one), pick(same)) and not torch.allclose(pick(one), pick(other), atol=1e-2)


def test_bad_input_is_refused_by_name(model, fitted, span):
    for call, said in (
        (lambda: fitted.span(model, 1, []), "tokens"),
        (lambda: fitted.span(model, 1, ["w5", 5]), "differ"),
        (lambda: fitted.span(model, 7, ["w5"]), "layer=7"),
        (lambda: fitted.span(speaking("llama", seed=1), 1, ["w5"]), "another model"),
        (lambda: span.edit("zero", tokens=6), "token=6"),
        (lambda: span.edit("zero", tokens=[5, True]), "token=True"),
        (lambda: span.swap(5, 5), "again"),
        (lambda: span.swap(5, 7), "token=7"),
        (lambda: fitted.span(model, 1, list(range(33))), "fewer tokens"),
    ):
        with pytest.raises(JacobianLensError, match=said):
            call()
    with pytest.raises(lens.PromptError, match="tokens"):
        fitted.span(model, 1, ["w5 w6"])
    with pytest.raises(lens.EditError, match="op"):
        span.edit("remove")
    with pytest.raises(lens.EditError, match="NaN"):
        span.edit("add", float("nan"))
    other = type("Other", (), {"d_model": 16, "n_layers": 3})
    with pytest.raises(JacobianLensError, match="width 16"):
        span.require(other)
    # two directions that are one
    same = fitted.mean.clone()
    same[1] = torch.outer(torch.randn(32), torch.randn(32))
    flat = lens.jacobian_lens.JacobianLens(fitted.layers, same, None, fitted.about)
    with pytest.raises(JacobianLensError, match="nearly one"):
        flat.span(model, 1, ["w5", "w9"])
