"""A person's own model class, said where its parts are: served like any other, and refused where a name is wrong."""

import pytest
import torch
from torch import nn

import lens
from lens.engine.errors import UnsupportedModel
from lens.engine.registry import register
from lens.engine.sites import SITES
from tests.models import word_tokenizer

PAIR = lens.Pair("w5 w17 w3 w88 w41", corrupted="w5 w17 w3 w21 w41", answer=" w11", foil=" w12")


class Attention(nn.Module):
    def __init__(self, d, n_heads):
        super().__init__()
        self.n_heads, self.qkv, self.out = n_heads, nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x):
        q, k, v = (t.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(z.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, d, n_heads):
        super().__init__()
        self.ln, self.mixer, self.ln2 = nn.LayerNorm(d), Attention(d, n_heads), nn.LayerNorm(d)
        self.net = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, stream):
        stream = stream + self.mixer(self.ln(stream))
        return stream + self.net(self.ln2(stream))


class OwnGPT(nn.Module):
    """Nothing of it is called as a library would call it."""

    def __init__(self, seed=0, d=32, n_heads=4, depth=3, vocabulary=97):
        super().__init__()
        torch.manual_seed(seed)
        self.tok, self.pos = nn.Embedding(vocabulary, d), nn.Embedding(64, d)
        self.tower = nn.ModuleList(Block(d, n_heads) for _ in range(depth))
        self.last, self.to_words = nn.LayerNorm(d), nn.Linear(d, vocabulary)
        self.requires_grad_(False)
        self.eval()

    def forward(self, input_ids):
        x = self.tok(input_ids) + self.pos(torch.arange(input_ids.shape[1]))
        for block in self.tower:
            x = block(x)
        return self.to_words(self.last(x))


NAMES = dict(blocks="tower", head="to_words", embedding="tok", attn="mixer", mlp="net", o_proj="mixer.out",
             down_proj="net.2", n_heads=4)  # fmt: skip


@pytest.fixture
def own():
    register(OwnGPT, **NAMES)
    model = OwnGPT()
    model.tokenizer = word_tokenizer()
    return model


def ids(text):
    return torch.tensor([[int(w[1:]) for w in text.split()]])


def by_hand(layer, module, position, part=slice(None), into=False):
    """The logit difference with one module's output (or input) at a position copied from the clean text."""
    model, seen = OwnGPT(), []
    there = model.tower[layer].get_submodule(module) if module else model.tower[layer]

    def look(m, args, out=None):
        seen.append((args[0] if into else out).clone())

    handle = (there.register_forward_pre_hook if into else there.register_forward_hook)(look)
    model(ids(PAIR.clean))
    handle.remove()

    def write(m, args, out=None):
        x = (args[0] if into else out).clone()
        x[:, position, part] = seen[0][:, position, part]
        return (x,) if into else x

    handle = (there.register_forward_pre_hook if into else there.register_forward_hook)(write)
    logits = model(ids(PAIR.corrupted))[0, -1]
    handle.remove()
    return float(logits[11] - logits[12])


@pytest.mark.filterwarnings("ignore:.*every edited run is computed")
@pytest.mark.parametrize(
    "site, module, part, into",
    [
        ("resid_post", "", slice(None), False),
        ("attn_out", "mixer", slice(None), False),
        ("mlp_out", "net", slice(None), False),
        ("neuron", "net.2", slice(None), True),
        ("z", "mixer.out", slice(8, 16), True),
    ],
)
def test_its_patches_are_those_of_hooks_by_hand(own, site, module, part, into):
    over = ("layer", "head", "position") if site == "z" else ("layer", "position")
    seen = lens.patch(own, PAIR, site, over, progress=False).value
    seen = seen.sel(head=1) if site == "z" else seen
    for layer in range(3):
        for position in (3, 4):
            want = by_hand(layer, module, position, part, into)
            assert abs(float(seen.sel(layer=layer, position=position)) - want) < 1e-4
    assert lens.record(lens.patch(own, PAIR, progress=False))["engine"]["name"] == "hooks"


def test_readouts_and_the_table_of_sites(own):
    logits = OwnGPT()(ids(PAIR.clean))[0, -1]
    seen = lens.logit_lens(own, PAIR, positions="last")
    assert abs(float(seen.prob.isel(layer=-1)) - float(logits.softmax(-1)[11])) < 1e-5
    parts = lens.direct_logit_attribution(own, PAIR)
    total = float(parts.contribution.sum() + parts.embed + parts.bias)
    assert abs(total - float(logits[11] - logits[12])) < 1e-4
    table = lens.sites(own)
    assert set(table.index) == set(SITES) - {"router", "expert"}
    assert (table.path == "hooks").all() and table.layers["z"] == "0-2" and table.why.str.len().gt(0).all()


@pytest.mark.parametrize(
    "wrong, said", [(dict(blocks="towers"), "towers"), (dict(attn="attention"), "attention"), (dict(head="out"), "out")]
)
def test_a_wrong_name_is_told(own, wrong, said):
    register(OwnGPT, **NAMES | wrong)
    with pytest.raises(UnsupportedModel, match=f"no module '{said}'.*Register"):
        lens.sites(own)


@pytest.mark.filterwarnings("ignore:.*every edited run is computed")
def test_a_module_that_is_not_what_it_was_said_to_be_is_passed_over_for_the_one_that_is(own):
    register(OwnGPT, **NAMES | dict(attn="ln"))
    seen = lens.patch(own, PAIR, "attn_out", progress=False).value
    assert abs(float(seen.sel(layer=1, position=4)) - by_hand(1, "mixer", 4)) < 1e-4


def test_what_is_no_class_is_refused():
    with pytest.raises(lens.Error, match="no class of torch.nn.Module"):
        lens.Model.register(dict, blocks="a", head="b", embedding="c")


def test_a_class_that_nobody_named_is_refused_with_the_next_step():
    class Stranger(OwnGPT):
        pass

    from lens.engine import registry

    registry._classes.pop(OwnGPT, None)
    with pytest.raises(UnsupportedModel, match="lens.Model.register"):
        lens.sites(Stranger())
