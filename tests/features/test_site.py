"""An edit of features against plain hooks on a second copy of the model, on every path and in force."""

import warnings

import pytest
import torch

import lens
from lens.engine.features import Tap
from lens.engine.layers import Layers
from lens.engine.model import Model
from lens.engine.walk.decoder import Decoder
from tests import naive
from tests.engine.test_paths import forget, refuse
from tests.models import tiny

from .tiny import KINDS, added, dictionary, norm_of_mlp

IDS = torch.tensor([5, 17, 3, 88, 41, 9, 60])
AT = (2, 4)
INDEX = (3, 11, 7)


@pytest.fixture(scope="module")
def llama():
    return tiny("llama")


def edited(hf, sae, target, index=INDEX, at=AT, before=()):
    """Logits under hooks that move features at some positions to ``target(f)``, after other changes."""
    noted = {}
    tap, out = sae.reads, sae.writes

    def note(x):
        noted["x"] = x.clone()
        return x

    def change(x):
        new = x.clone()
        for p in at:
            one = new[0, p] if tap == out else norm_of_mlp(hf, tap.layer, noted["x"][0, p], tap.gain)
            head = slice(None) if tap.head is None else tap.head
            delta = added(sae, one[head], index, target).to(x)
            if out.site == "z":
                new[0, p, head] += delta.view(new[0, p, head].shape)
            else:
                new[0, p] += delta
        return new

    looks = [] if tap == out else [("resid_mid", tap.layer, note)]
    return naive.forward(hf, IDS, [*before, *looks, (out.site, out.layer, change)])


OPS = {
    "zero": (("zero",), lambda f: 0 * f),
    "scale": (("scale", None, 3.0), lambda f: 3 * f),
    "add": (("add", torch.tensor([1.0, -2.0, 0.5]), 2.0), lambda f: f + 2 * torch.tensor([1.0, -2.0, 0.5]).double()),
    "replace": (("replace", 1.5), lambda f: 0 * f + 1.5),
    "mean": (("mean", torch.tensor([0.3, 0.2, 0.1])), lambda f: 0 * f + torch.tensor([0.3, 0.2, 0.1]).double()),
}


def near(ours, theirs):
    """Rounding of float32: 1e-4 of the largest logit."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_in_force_is_an_affine_write_that_keeps_the_error(kind, llama):
    sae, other = KINDS[kind](), tiny("llama")
    plain = naive.forward(other, IDS)
    for op, target in OPS.values():
        edit = lens.Edit(lens.Site("feature", sae, index=INDEX, position=AT), *op)
        with lens.edited(llama, edit):
            ours = llama(IDS[None]).logits[0]
        theirs = edited(other, sae, target)
        near(ours, theirs)
        assert op[0] in ("zero", "scale") or (theirs - plain).abs().max() > 0.01
    assert torch.equal(llama(IDS[None]).logits[0], plain)


def runs(model, rows, keep, engine, monkeypatch):
    """Final logits of edited rows, [row, vocabulary] after the last token, on one path."""
    forget(model)
    try:
        with monkeypatch.context() as m, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            refuse(m, *{"walk": (), "layers": (Decoder,), "hooks": (Decoder, Layers)}[engine])
            view = Model.of(model)
            base = view.record([IDS], keep)
            out = view.run(base, [(0, edits) for edits in rows], [[len(IDS) - 1]])
            assert (type(view.walked).__name__ == "NoneType") == (engine != "walk")
            return view.unembed(out.resid), out.changed
    finally:
        forget(model)


@pytest.mark.parametrize("engine", ["walk", "layers", "hooks"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_sweep_take_base_values_or_live_ones(kind, engine, llama, monkeypatch):
    """Alone in a row features are the base run's; behind another edit they are what that edit has made of them."""
    sae, other = KINDS[kind](), tiny("llama")
    site = lens.Site("feature", sae, index=INDEX, position=AT)
    push = torch.linspace(-1, 1, 32)
    above = lens.Edit(lens.Site("resid_pre", 0, position=1), "add", push)
    rows, want = [], []

    def pushed(x):
        x = x.clone()
        x[0, 1] += push
        return x

    for op, target in OPS.values():
        rows += [[lens.Edit(site, *op)], [above, lens.Edit(site, *op)]]
        want += [edited(other, sae, target)[-1], edited(other, sae, target, before=[("resid_pre", 0, pushed)])[-1]]
    ours, changed = runs(llama, rows, {"mlp_out", "z"}, engine, monkeypatch)
    near(ours, torch.stack(want))
    assert changed[1::2].all()


@pytest.mark.parametrize("engine", ["walk", "layers"])
def test_edits_of_one_place_act_in_the_order_given(engine, llama, monkeypatch):
    sae, other = KINDS["autoencoder"](), tiny("llama")
    first = lens.Edit(lens.Site("feature", sae, index=3, position=AT), "replace", 2.0)
    second = lens.Edit(lens.Site("feature", sae, index=7, position=AT), "scale", scale=3.0)

    def before(x):
        x = x.clone()
        for p in AT:
            x[0, p] += added(sae, x[0, p], [3], lambda f: 0 * f + 2).to(x)
        return x

    want = edited(other, sae, lambda f: 3 * f, [7], before=[("resid_post", 1, before)])[-1]
    near(runs(llama, [[first, second]], (), engine, monkeypatch)[0], want[None])
    with lens.edited(llama, first, second):
        near(llama(IDS[None]).logits[0, -1], want)


def test_an_edit_that_changes_no_feature_is_the_base_run_to_the_bit(llama):
    view, sae = Model.of(llama), KINDS["top-k"]()
    base = view.record([IDS], ("mlp_out",))
    f = sae.values(base.get("mlp_out", 1))[4]
    off = int((f == 0).nonzero()[0, 0])
    site = lens.Site("feature", sae, index=off, position=4)
    out = view.run(base, [(0, [lens.Edit(site, "zero")])], [[6]])
    assert not out.changed[0] and torch.equal(out.resid, base.final[6:7])


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "olmo2", "qwen3"])
def test_what_the_mlp_reads_is_found_in_every_kind_of_block(kind):
    """Before and after the attention, with a bias, without a norm: against the MLP module's own input."""
    from lens.engine.live import read_place

    model = tiny(kind)
    view = Model.of(model)
    seen = []
    block = view.anatomy.layers[1]
    block.mlp.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach().clone()))
    base = view.record([IDS], ())
    seen.clear()
    with torch.no_grad():
        model(IDS[None])
    sae = dictionary(Tap("mlp_in", 1), Tap("mlp_out", 1))
    (site, layer), through = read_place(view.anatomy, sae)
    torch.testing.assert_close(
        through(base.get(site, layer)), seen[0][0], rtol=0, atol=1e-5 * float(seen[0].abs().max())
    )
    assert (site == "resid_pre") == (kind == "gpt_neox")


def test_texts_are_written_under_an_edit_of_features(llama):
    """As a plain loop writes them: every new token meets the edit as it comes."""
    sae, other = KINDS["transcoder"](), tiny("llama")
    edit = lens.Edit(lens.Site("feature", sae, index=(3, 5)), "replace", 4.0)
    ours = lens.generate(llama, [IDS.tolist()], edits=[edit], max_new_tokens=5)
    noted, ids = {}, IDS.clone()

    def change(x):
        x = x.clone()
        for p in range(x.shape[1]):
            one = norm_of_mlp(other, 1, noted["x"][0, p], True)
            x[0, p] += added(sae, one, [3, 5], lambda f: 0 * f + 4).to(x)
        return x

    def note(x):
        noted["x"] = x.clone()
        return x

    for _ in range(5):
        logits = naive.forward(other, ids, [("resid_mid", 1, note), ("mlp_out", 1, change)])
        ids = torch.cat([ids, logits[-1].argmax()[None]])
    assert list(ours[0].ids) == ids[len(IDS) :].tolist()[: len(ours[0].ids)]
    with lens.edited(llama, edit):
        cached = llama.generate(IDS[None], max_new_tokens=5, do_sample=False, eos_token_id=96)
    assert cached[0].tolist() == ids.tolist()
