"""Models whose layers are not all alike, or add more than attention and an MLP: every site against plain hooks."""

import numpy as np
import pytest
import torch

import lens
from tests import hybrids
from tests.hybrids import N_LAYERS, head, logits, read

IDS = torch.tensor([5, 17, 3, 88, 41, 9, 60])
OTHER = torch.tensor([5, 17, 3, 21, 41, 50, 60])
PAIR = lens.Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
pytestmark = pytest.mark.filterwarnings("ignore:.*every edited run is")
LAYERS = range(N_LAYERS)


def text(ids):
    return " ".join(f"w{i}" for i in ids.tolist())


# -- a stream that is halved behind some blocks ------------------------------------------------------------------------


def test_a_direction_is_of_the_stream_that_leaves_each_block():
    model, plain = hybrids.rwkv(), hybrids.rwkv()
    first, second = [IDS, OTHER[:5]], [OTHER, IDS[2:], IDS[1:6]]
    vectors = lens.vectors.contrast(model, list(map(text, first)), list(map(text, second)), start=None).vectors
    posts = [("resid_post", l) for l in LAYERS]
    means = [
        torch.stack([torch.stack(read("rwkv", plain, ids, posts))[:, -1] for ids in some]).mean(0)
        for some in (first, second)
    ]
    torch.testing.assert_close(vectors, means[0] - means[1], atol=1e-5, rtol=1e-5)
    leaves, enters = read("rwkv", plain, IDS, [("resid_post", 1), ("resid_pre", 2)])
    assert torch.equal(leaves, 2 * enters)


def test_the_lens_reads_each_stream_as_it_is():
    model, plain = hybrids.rwkv(), hybrids.rwkv()
    seen = lens.logit_lens(model, PAIR, k=3)
    streams = read("rwkv", plain, IDS, [("embed", 0), *(("resid_post", l) for l in LAYERS)])
    for layer, stream in zip(seen.layer.values, streams):
        want = head("rwkv", plain, stream)
        np.testing.assert_allclose(seen.logit.sel(layer=layer).values, want[:, 11], atol=1e-5)
        # an embedding is small enough for the norm's epsilon to count: halved it would be another
        if layer == -1:
            assert (head("rwkv", plain, stream / 2) - want).abs().max() > 1e-3
    np.testing.assert_allclose(seen.logit.sel(layer=N_LAYERS - 1).values, logits("rwkv", plain, IDS)[:, 11], atol=1e-4)


def test_what_runs_end_in_enters_the_last_norm():
    model, plain = hybrids.rwkv(), hybrids.rwkv()
    runs = lens.Runs.record(model, [IDS], ())
    torch.testing.assert_close(runs.get("resid_post", 3), read("rwkv", plain, IDS, [("resid_post", 3)])[0])
    torch.testing.assert_close(runs.final, read("rwkv", plain, IDS, [("resid_post", 3)])[0] / 2)
    torch.testing.assert_close(lens.Model.of(model).unembed(runs.final), logits("rwkv", plain, IDS))


# -- which layers are the MLP's ----------------------------------------------------------------------------------------

#: kind -> how to make it, and its MLP's layers
MLPS = {
    "opt": (hybrids.opt, [f"model.decoder.layers.{l}.fc{i}" for l in LAYERS for i in (1, 2)]),
    "norms behind": (
        lambda: hybrids.opt(do_layer_norm_before=False, word_embed_proj_dim=16),
        [f"model.decoder.layers.{l}.fc{i}" for l in LAYERS for i in (1, 2)],
    ),
    **{
        f"vision of {depth} layers": (
            lambda depth=depth: hybrids.seeing(depth),
            [f"model.language_model.layers.{l}.mlp.{name}_proj" for l in LAYERS for name in ("gate", "up", "down")],
        )
        for depth in (2, N_LAYERS)
    },
}


@pytest.mark.parametrize("kind", MLPS)
def test_the_layers_of_the_mlp_are_found_and_are_those_that_text_reaches(kind):
    make, names = MLPS[kind]
    model, plain = make(), make()
    rows = torch.randint(2, 90, (24, 6), generator=torch.Generator().manual_seed(0))
    factors = lens.curvature.factors(model, "mlp", rows, fisher="empirical", progress=False)
    assert sorted(factors.a) == sorted(names)
    came = {}
    hooks = [
        plain.get_submodule(n).register_forward_pre_hook(
            lambda m, args, n=n: came.setdefault(n, []).append(args[0].reshape(6, -1)[:-1].double())
        )
        for n in names
    ]
    with torch.no_grad():
        for row in rows:
            plain(row[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    for name in names:
        x = torch.cat(came[name])
        torch.testing.assert_close(factors.a[name].double(), x.T @ x / len(x), atol=1e-4, rtol=1e-4)
