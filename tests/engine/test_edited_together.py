"""One way to put any edit in force: activations, masks and other edits of weights, alone and together, undone bit for
bit.
"""

import pytest
import torch

import lens
from lens import subspace
from tests.models import tiny

IDS = torch.arange(5, 14)[None]
PUSH = lens.Edit(lens.Site("mlp_out", 0), "add", torch.linspace(-1, 1, 32))
ZERO = lens.Edit(lens.Site("z", 2, head=1), "zero")


def mask():
    chosen = torch.rand(32, 48, generator=torch.Generator().manual_seed(0)) < 0.3
    return subspace.Mask.of({"model.layers.1.mlp.down_proj": chosen}), chosen


def by_hand(model, chosen):
    """The same on a plain copy: weights set to zero, activations by hooks."""
    model.model.layers[1].mlp.down_proj.weight[chosen] = 0
    model.model.layers[0].mlp.register_forward_hook(lambda m, args, out: out + PUSH.value)

    def without_head(m, args):
        z = args[0].clone()
        z[..., 8:16] = 0
        return (z,)

    model.model.layers[2].self_attn.o_proj.register_forward_pre_hook(without_head)
    return model(IDS).logits


@pytest.mark.parametrize("form", ["in a row", "in a list", "in lists", "the mask last"])
def test_a_mask_and_edits_of_activations_together(form):
    model, (cut, chosen) = tiny("llama"), mask()
    saved, before = [p.clone() for p in model.parameters()], model(IDS).logits
    given = {
        "in a row": (cut, PUSH, ZERO),
        "in a list": ([cut, PUSH, ZERO],),
        "in lists": ([cut], (PUSH, [ZERO])),
        "the mask last": (PUSH, ZERO, cut),
    }[form]
    with lens.edited(model, *given) as inside:
        assert inside is model
        got = model(IDS).logits
    assert torch.allclose(got, by_hand(tiny("llama"), chosen), atol=1e-5)
    assert all(torch.equal(p, s) for p, s in zip(model.parameters(), saved))
    assert torch.equal(model(IDS).logits, before)


def test_a_mask_alone_is_what_applied_gives():
    model, (cut, _) = tiny("llama"), mask()
    with lens.edited(model, cut):
        one = model(IDS).logits
    with cut.applied(model):
        assert torch.equal(one, model(IDS).logits)


def test_where_one_cannot_be_put_on_none_stays_on():
    model, (cut, _) = tiny("llama"), mask()
    before = model(IDS).logits
    with pytest.raises(lens.SiteError), lens.edited(model, cut, lens.Edit(lens.Site("z", 2, head=9), "zero")):
        pass
    assert torch.equal(model(IDS).logits, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_is_no_edit_is_named():
    with pytest.raises(lens.EditError, match=r"edits\[0\]='mask'.*applied"), lens.edited(tiny("llama"), "mask"):
        pass
