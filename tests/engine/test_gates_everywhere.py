"""Gates in sweeps and in with blocks: the edit acts at the tokens at which plain hooks find its gate open."""

import pytest
import torch

import lens
from lens import Edit, Gate, Runs, Site
from lens.engine.forwards import ForwardRuns
from tests import naive
from tests.models import EACH, tiny

pytestmark = pytest.mark.filterwarnings("ignore:the gate", "ignore:.*on the model's own layers")
IDS = [torch.tensor([5, 17, 33, 2, 71, 9]), torch.tensor([8, 40, 3, 12])]
WAY = torch.randn(32, generator=torch.Generator().manual_seed(1))
CENTROIDS = torch.randn(3, 32, generator=torch.Generator().manual_seed(2)) * 2
PUSH = torch.randn(32, generator=torch.Generator().manual_seed(3))
AT = Site("resid_pre", layer=1)


def middle(model, read):
    """A threshold that about half of the tokens exceed."""
    values = torch.cat([read(naive.activation(model, ids, "resid_pre", 1)) for ids in IDS]).sort().values
    return float(values[4] + values[5]) / 2


def nearer(x):
    apart = torch.cdist(x, CENTROIDS)
    return torch.minimum(apart[:, 0], apart[:, 2]) - apart[:, 1]


def kinds(model):
    """Gates, and in plain words what each says of a prompt's tokens and of what is read of them."""
    unit = WAY / WAY.norm()
    measured = {
        "projection": (lambda x: x @ unit, lambda t: Gate.projection(AT, WAY, t)),
        "cosine": (lambda x: (x @ unit) / x.norm(dim=-1), lambda t: Gate.cosine(AT, WAY, t)),
        "nearest": (nearer, lambda t: Gate.nearest(AT, CENTROIDS, 1, t)),
    }
    for name, (read, make) in measured.items():
        t = middle(model, read)
        yield name, make(t), lambda ids, x, read=read, t=t: read(x) > t
    yield "token", Gate.token([17, 9, 3]), lambda ids, x: torch.isin(ids, torch.tensor([17, 9, 3]))
    yield "function", Gate.function(AT, lambda x: x[:, 0] > 0), lambda ids, x: x[:, 0] > 0


def reference(model, ids, site, layer, mask, positions=None, before=()):
    """The final logits of a plain hooked forward with the push at the tokens named."""

    def change(x):
        x = x.clone()
        for p in range(len(ids)) if positions is None else positions:
            if mask[p]:
                x[0, p] += PUSH
        return x

    return naive.forward(model, ids, [*before, (site, layer, change)])[-1]


def own_forward(model, ids):
    with torch.no_grad():
        return model(ids[None]).logits[0, -1]


@pytest.mark.parametrize("kind", EACH)
def test_gates_in_rows_and_with_blocks_are_those_of_plain_hooks(kind):
    model, fresh = tiny(kind), tiny(kind)
    fresh.set_attn_implementation("naive")
    view = lens.Model.of(model)
    walked, by_hooks = view.record(IDS), ForwardRuns.of(view, IDS, ("z",))
    fired = []
    for name, gate, opened in kinds(fresh):
        for positions in (None, (1, 3)):
            edit = Edit(Site("mlp_out", layer=1, position=positions), "add", PUSH, when=gate)
            masks = [opened(ids, naive.activation(fresh, ids, "resid_pre", 1)) for ids in IDS]
            want = torch.stack([reference(fresh, i, "mlp_out", 1, m, positions) for i, m in zip(IDS, masks)])
            scale = want.abs().max()
            for runs in (walked, by_hooks):
                rows = view.run(runs, [(0, (edit,)), (1, (edit,))], [[len(ids) - 1] for ids in IDS])
                torch.testing.assert_close(view.unembed(rows.resid), want, atol=float(1e-4 * scale), rtol=0, msg=name)
            with lens.edited(model, edit):
                got = torch.stack([own_forward(model, ids) for ids in IDS])
            torch.testing.assert_close(got, want, atol=float(1e-4 * scale), rtol=0, msg=name)
        fired += [int(m.sum()) for m in masks]
    assert 0 < sum(fired) < sum(map(len, IDS)) * 5


def gates(threshold):
    yield Gate.projection(AT, WAY, threshold)
    yield Gate.cosine(AT, WAY, threshold)
    yield Gate.nearest(AT, CENTROIDS, 1, threshold)
    yield Gate.probability([1, 2], threshold)
    yield Gate.projection(AT, WAY, threshold, hold="prompt")
    yield Gate.cosine(AT, WAY, threshold, hold="once")


@pytest.mark.parametrize("threshold", [float("-inf"), float("inf")])
def test_always_and_never_are_the_plain_edit_and_none_to_the_bit(threshold):
    model, plain = tiny(), Edit(Site("mlp_out", layer=1), "add", PUSH)
    view, reads = lens.Model.of(model), [[len(ids) - 1] for ids in IDS]
    runs = Runs.record(model, IDS)
    bare = [plain] if threshold < 0 else []
    want = view.run(runs, [(0, bare), (1, bare)], reads)
    with lens.edited(model, bare):
        outside = [own_forward(model, ids) for ids in IDS]
    texts = [t.ids for t in lens.generate(model, IDS, bare, max_new_tokens=3, start=None)]
    for gate in gates(threshold):
        edit = Edit(plain.site, "add", PUSH, when=gate)
        if gate.kind == "probability" and threshold > 0:
            continue  # of a step before, which only lens.generate has
        got = view.run(runs, [(0, [edit]), (1, [edit])], reads)
        assert torch.equal(got.resid, want.resid) and (got.changed == want.changed).all()
        with lens.edited(model, edit):
            inside = [own_forward(model, ids) for ids in IDS]
        assert all(map(torch.equal, inside, outside))
        assert [t.ids for t in lens.generate(model, IDS, edit, max_new_tokens=3, start=None)] == texts


def test_a_gate_sees_what_other_edits_of_its_row_have_made():
    model, fresh = tiny(), tiny()
    fresh.set_attn_implementation("naive")
    ids, first = IDS[0], Edit(Site("mlp_out", layer=0, position=(2, 3)), "add", 3 * PUSH)

    def ahead(x):
        x = x.clone()
        x[0, 2:4] += 3 * PUSH
        return x

    unit, seen = WAY / WAY.norm(), {}

    def look(x):
        seen["x"] = x[0].clone()
        return x

    naive.forward(fresh, ids, [("mlp_out", 0, ahead), ("resid_pre", 1, look)])
    edited, plain = seen["x"] @ unit, naive.activation(fresh, ids, "resid_pre", 1) @ unit
    # between what a token was and what the first edit makes of it: gates of the two runs disagree there
    at = int((edited - plain).abs().argmax())
    threshold = float(edited[at] + plain[at]) / 2
    assert (edited[at] > threshold) != (plain[at] > threshold)
    gated = Edit(Site("attn_out", layer=1), "add", PUSH, when=Gate.projection(AT, WAY, threshold))
    want = reference(fresh, ids, "attn_out", 1, edited > threshold, before=[("mlp_out", 0, ahead)])
    view = lens.Model.of(model)
    for runs in (view.record(IDS), ForwardRuns.of(view, IDS, ("z",))):
        got = view.unembed(view.run(runs, [(0, (gated, first))], [[5], [3]]).resid)[0]
        torch.testing.assert_close(got, want, atol=1e-4 * float(want.abs().max()), rtol=0)
    with lens.edited(model, gated, first):
        torch.testing.assert_close(own_forward(model, ids), want, atol=1e-4 * float(want.abs().max()), rtol=0)


def test_copies_of_other_runs_and_values_by_position_act_where_the_gate_is_open():
    model, gate = tiny(), Gate.token([33, 71])  # at positions 2 and 4
    view, other = lens.Model.of(model), Runs.record(model, [torch.tensor([60, 61, 62, 63, 64, 65])])
    runs = view.record(IDS[:1])
    value = torch.randn(4, 32, generator=torch.Generator().manual_seed(5))
    for gated, plain in (
        (
            Edit(Site("mlp_out", 1, position=(1, 2, 3, 4)), "add", value, when=gate),
            Edit(Site("mlp_out", 1, position=(2, 4)), "add", value[[1, 3]]),
        ),
        (Edit(AT, "replace", other, when=gate), Edit(Site("resid_pre", 1, position=(2, 4)), "replace", other)),
        (
            Edit(Site("resid_pre", 1, position=(1, 2, 3)), "replace", other, when=gate, source_position=(3, 1, 0)),
            Edit(Site("resid_pre", 1, position=(2,)), "replace", other, source_position=(1,)),
        ),
    ):
        a, b = (view.run(runs, [(0, (edit,))], [[5]]).resid for edit in (gated, plain))
        assert torch.equal(a, b)


def test_generation_through_the_model_itself_opens_gates_as_lens_generate_does():
    model = tiny("llama", seed=3)
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    edit = Edit(Site("mlp_out", layer=1), "add", PUSH, when=Gate.projection(AT, WAY, 0.3))
    want = [t.ids for t in lens.generate(model, IDS, edit, max_new_tokens=5, start=None)]
    with lens.edited(model, edit):
        got = [model.generate(ids[None], max_new_tokens=5, do_sample=False)[0, len(ids) :] for ids in IDS]
    assert [tuple(t.tolist()) for t in got] == want


def test_what_no_gate_can_be_is_named():
    model, runs = tiny(), None
    above = Edit(Site("mlp_out", layer=0), "zero", when=Gate.projection(AT, WAY, 0))
    step = Edit(Site("mlp_out", layer=1), "zero", when=Gate.probability(3, 0.5))
    low = Edit(Site("mlp_out", layer=0), "zero", when=Gate.projection(Site("attn_out", layer=2), WAY, 0))
    high = Edit(Site("attn_out", layer=2), "zero", when=Gate.projection(AT, WAY, 0))
    late = Edit(Site("mlp_out", layer=2), "zero", when=Gate.projection(Site("mlp_out", layer=1), WAY, 0))
    view = lens.Model.of(model)
    runs = view.record(IDS[:1])

    def swept(*edits):
        return view.run(runs, [(0, edits)], [[5]])

    def within(*edits):
        with lens.edited(model, *edits):
            own_forward(model, IDS[0])

    for way in (swept, within):
        with pytest.raises(lens.EditError, match=r"edits\[0\]: its gate .* reads above the edit"):
            way(above)
        with pytest.raises(lens.EditError, match="switch each other"):
            way(low, high)
        with pytest.raises(lens.EditError, match="step before"):
            way(step)
    with pytest.raises(lens.EditError, match="read after another edit of the same run has acted; read it at one of"):
        swept(late, Edit(Site("attn_out", layer=0), "zero"))
    with pytest.raises(lens.EditError, match="embeddings"), lens.edited(model, Edit(AT, "zero", when=Gate.token(3))):
        model(inputs_embeds=torch.ones(1, 3, 32))
    model.train()
    with pytest.raises(lens.EditError, match="training mode"), lens.edited(model, high):
        model(IDS[0][None])
    model.eval()
    with pytest.warns(UserWarning, match="was never open"):
        within(Edit(AT, "zero", when=Gate.projection(AT, WAY, 1e9)))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Gate.cosine(AT, WAY, 1.5), "a cosine lies between -1 and 1"),
        (lambda: Gate.cosine(AT, WAY * 0, 0.5), "direction"),
        (lambda: Gate.nearest(AT, CENTROIDS[:1], 0), "at least two classes"),
        (lambda: Gate.nearest(AT, CENTROIDS, 3), "target=3: the centroids are of the classes 0 to 2"),
        (lambda: Gate.nearest(AT, CENTROIDS * float("inf"), 0), "centroids"),
        (lambda: Gate.nearest(Site("resid_pre", 1, position=2), CENTROIDS, 0), "leave position out"),
    ],
)
def test_gates_that_cannot_be(make, message):
    with pytest.raises(lens.GateError, match=message):
        make()
