"""Edits that copy another position, layer or model, against plain hooks on second copies."""

import functools
import warnings

import pytest
import torch

import lens
from lens import Edit, EditError, Site, SiteError
from lens.engine.errors import UnsupportedModel
from lens.engine.layers import Layers
from lens.engine.model import Model
from lens.engine.runs import Runs
from lens.engine.sites import HEADED
from lens.engine.walk.decoder import Decoder
from tests import naive
from tests.models import tiny

KINDS = ("llama", "gpt2", "gpt_neox", "olmo2")
BASE, SOURCE = torch.tensor([5, 17, 3, 88, 41, 9, 60]), torch.tensor([5, 17, 8, 30, 2, 71, 6, 44, 12])
#: site, layer, head; source layer; positions and what they take
COPIES = [
    ("resid_pre", 2, None, 1, [3], [6]),
    ("resid_pre", 0, None, 2, [2, 5], [8]),
    ("resid_post", 1, None, 0, [4, 5], [1, 7]),
    ("resid_post", 2, None, None, [6], [8]),
    ("embed", None, None, None, [3], [7]),
    ("attn_out", 1, None, 2, [1, 6], [0, 8]),
    ("mlp_out", 0, None, None, [5], [-2]),
    ("z", 1, 2, 0, [4], [5]),
    ("k", 1, 1, 2, [1, 2], [3, 8]),
    ("neuron", 2, None, 0, [6, 4], [4, 6]),
]


def refused(monkeypatch, path):
    def no(*_, **__):
        raise UnsupportedModel("refused by the test.")

    for owner in {"walk": (), "layers": (Decoder,), "hooks": (Decoder, Layers)}[path]:
        monkeypatch.setattr(owner, "of" if owner is Decoder else "__init__", no)


@functools.cache
def plain_copy(kind, seed=0):
    """A model for plain hooks, which leave it as it was."""
    hf = tiny(kind, seed)
    hf.set_attn_implementation("naive")
    return hf


def expected(kind, copy, source_seed=0, ids=SOURCE):
    """Logits by plain hooks: the activation from one copy of a model, put into another."""
    site, layer, head, source_layer, position, taken = copy
    ours, theirs = plain_copy(kind), plain_copy(kind, source_seed)
    seen = naive.activation(theirs, ids, site, layer if source_layer is None else source_layer)

    def change(x):
        x = x.clone()
        for p, t in zip(position, taken if len(taken) > 1 else taken * len(position)):
            if head is None:
                x[0, p] = seen[t]
            else:
                x[0, p, head] = seen[t, head]
        return x

    return naive.forward(ours, BASE, [(site, layer, change)])


def edit_of(copy, source):
    site, layer, head, source_layer, position, taken = copy
    head = head if site in HEADED else None
    where = Site(site, layer, head=head, position=position)
    return Edit(where, "replace", source, source_position=taken, source_layer=source_layer)


@pytest.mark.parametrize("path", ["walk", "layers", "hooks"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_position_and_layer(monkeypatch, kind, path):
    refused(monkeypatch, path)
    model, keep = Model.of(tiny(kind)), ("z", "k", "mlp_out", "neuron")
    base, source = model.record([BASE], keep), model.record([SOURCE], keep)
    rows, want = [], []
    for copy in COPIES:
        rows.append((0, (edit_of(copy, source[0]),)))
        want.append(expected(kind, copy)[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ends = model.run(base, rows, [[6]])
    torch.testing.assert_close(model.unembed(ends.resid), torch.stack(want), atol=2e-4, rtol=1e-4)
    # something is there to be copied: none of the rows is the unedited run
    unedited = naive.forward(plain_copy(kind), BASE)[-1]
    assert all((w - unedited).abs().max() > 1e-3 for w in want)


@pytest.mark.parametrize("path", ["walk", "layers", "hooks"])
def test_another_model_of_equal_width(monkeypatch, path):
    refused(monkeypatch, path)
    model, other, keep = Model.of(tiny("llama")), Model.of(tiny("llama", 1)), ("z", "k", "mlp_out", "neuron")
    base, source = model.record([BASE], keep), other.record([BASE], keep)
    copies = [
        ("resid_pre", 1, None, None, [2], [2]),
        ("embed", None, None, None, [0, 4], [0, 4]),
        ("z", 1, 3, 2, [1], [1]),
        ("mlp_out", 0, None, 2, [6], [3]),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ends = model.run(base, [(0, (edit_of(c, source[0]),)) for c in copies], [[6]])
        # runs without the two names are those of the same position and layer, whoever's they are
        plain = model.run(base, [(0, (Edit(Site("resid_pre", 1, position=[2]), "replace", source[0]),))], [[6]])
    want = torch.stack([expected("llama", c, 1, BASE)[-1] for c in copies])
    torch.testing.assert_close(model.unembed(ends.resid), want, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(plain.resid[0], ends.resid[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_in_force_on_any_forward(kind):
    model = tiny(kind)
    source = Runs.record(model, [SOURCE], keep=("z", "k", "mlp_out", "neuron"))
    for copy in COPIES:
        with torch.no_grad(), lens.edited(model, edit_of(copy, source)):
            logits = model(BASE[None]).logits[0]
        torch.testing.assert_close(logits, expected(kind, copy), atol=2e-4, rtol=1e-4)


def test_the_same_while_a_text_is_written():
    model = tiny()
    source = Runs.record(model, [SOURCE])
    edit = Edit(Site("resid_pre", 2, position=3), "replace", source, source_position=6, source_layer=1)
    tensor = Edit(edit.site, "replace", source.get("resid_pre", 1)[6])
    texts = [lens.generate(model, [BASE], e, max_new_tokens=4)[0] for e in (edit, tensor, ())]
    assert texts[0].ids == texts[1].ids
    want = expected("llama", ("resid_pre", 2, None, 1, [3], [6]))[-1].argmax()
    assert texts[0].ids[0] == want


def test_what_begins_alike_is_not_computed_again():
    model = Model.of(tiny())
    base, source = model.record([BASE]), model.record([SOURCE])
    same = Edit(Site("resid_pre", 1, position=[0, 1]), "replace", source[0], source_position=[0, 1])
    ends = model.run(base, [(0, (same,)), (0, (Edit(same.site, "replace", source[0], source_layer=0),))], [[6]])
    assert ends.changed.tolist() == [False, True]
    torch.testing.assert_close(ends.resid[0], base.final[6], atol=0, rtol=0)


@pytest.mark.parametrize("path", ["walk", "layers"])
def test_what_does_not_fit_is_named(monkeypatch, path):
    refused(monkeypatch, path)
    model = Model.of(tiny())
    base, source = model.record([BASE]), model.record([SOURCE])
    site = Site("resid_pre", 1, position=[2, 3])

    def run(edit):
        return model.run(base, [(0, (edit,))], [[6]])

    with pytest.raises(SiteError, match="source_position=9 is out of range; .* 0 to 8"):
        run(Edit(site, "replace", source[0], source_position=9))
    with pytest.raises(SiteError, match="source_layer=3 is out of range; .* 0 to 2"):
        run(Edit(site, "replace", source[0], source_layer=3))
    with pytest.raises(EditError, match=r"source_position=\[1, 2, 3\] names 3 positions, but position=\[2, 3\] 2"):
        run(Edit(site, "replace", source[0], source_position=[1, 2, 3]))
    with pytest.raises(EditError, match="source_layer=1: site 'embed' has no layer"):
        run(Edit(Site("embed", position=2), "replace", source[0], source_layer=1))
    with pytest.raises(EditError, match="source_position: a pattern's keys are positions of its own prompt"):
        run(Edit(Site("pattern", 1, position=2), "replace", source[0], source_position=3))


def test_names_that_say_nothing_are_refused():
    for name in ("source_position", "source_layer"):
        with pytest.raises(EditError, match=f"{name}=1 says what is copied from a run"):
            Edit(Site("resid_pre", 1), "replace", torch.zeros(32), **{name: 1})
        with pytest.raises(EditError, match=f"{name}=1"):
            Edit(Site("resid_pre", 1), "zero", **{name: 1})


def test_a_run_of_another_width_is_refused_with_numbers():
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.models import _SIZE

    wide = LlamaForCausalLM(LlamaConfig(**{**_SIZE, "hidden_size": 48, "num_key_value_heads": 2})).eval()
    source = Runs.record(wide, [BASE])
    edit = Edit(Site("resid_pre", 1, position=2), "replace", source[0])
    model = Model.of(tiny())
    with pytest.raises(EditError, match=r"\(48,\) wide at site 'resid_pre' in its layer 1, this model \(32,\)"):
        model.run(model.record([BASE]), [(0, (edit,))], [[6]])
    with pytest.raises(EditError, match=r"shape \(\d+, 48\)|48"):
        with (
            torch.no_grad(),
            lens.edited(tiny(), Edit(Site("resid_pre", 1, position=2), "replace", source, source_position=2)) as other,
        ):
            other(BASE[None])
