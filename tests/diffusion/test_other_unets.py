"""U-Nets whose layers are elsewhere than in the plain one: compiled, with fused projections, under adapters; and those
whose pictures depend on more than a text.
"""

import copy
import threading

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from peft import LoraConfig

from lens import subspace
from lens.diffusion import DiffusionError, Pipeline, denoise, locate, relearn, statistics
from lens.diffusion.pipeline import CROSS_ATTENTION, FEED_FORWARD
from lens.engine.linear import LinearError, linears
from tests.diffusion.test_stable_diffusion import parts_in
from tests.variants import few

LAYERS = (FEED_FORWARD, *CROSS_ATTENTION)
OPTIONS = {"seeds": (0,), "steps": 2, "layers": LAYERS}


@pytest.fixture
def parts(tmp_path):
    made = parts_in(tmp_path, small=True)
    made.set_progress_bar_config(disable=True)
    return made


def compiled_whole(parts):
    parts.unet = torch.compile(parts.unet, backend="eager")


def compiled_in_place(parts):
    parts.unet.compile(backend="eager")


def compiled_blocks(parts):
    for block in parts.unet.up_blocks:
        block.compile(backend="eager")
    parts.unet.mid_block = torch.compile(parts.unet.mid_block, backend="eager")


@pytest.mark.long
@pytest.mark.parametrize(
    "how", few([compiled_whole, compiled_in_place, compiled_blocks], [compiled_in_place]), ids=lambda how: how.__name__
)
def test_a_compiled_unet_is_read_located_and_cut_as_the_plain_one(parts, how):
    plain, other = Pipeline.of(parts), copy.deepcopy(parts)
    how(other)
    pipeline = Pipeline.of(other)
    before = denoise(pipeline, ["a cat"], steps=2).images  # what was compiled now does not see later hooks
    torch.testing.assert_close(before, denoise(plain, ["a cat"], steps=2).images, atol=1e-5, rtol=0)
    want, found = (statistics(p, ["a cat"], **OPTIONS) for p in (plain, pipeline))
    assert found.layers == want.layers and found.model == want.model == plain.unet_hash
    for name, value in want.sums.items():
        torch.testing.assert_close(found.sums[name], value, rtol=1e-4, atol=1e-6 * float(value.max()))
    masks = [
        locate(p, statistics(p, ["a cat"], **OPTIONS), None, sparsity=0.2, variant="wanda", first=1)
        for p in (plain, pipeline)
    ]
    assert masks[0].iou(masks[1]) == 1
    with masks[0].applied(plain.unet), masks[0].applied(pipeline.unet):
        cut = denoise(pipeline, ["a cat"], steps=2).images
        torch.testing.assert_close(cut, denoise(plain, ["a cat"], steps=2).images, atol=1e-5, rtol=0)
        assert float((cut - before).abs().max()) > 1e-3
    assert pipeline.hash == plain.hash and torch.equal(denoise(pipeline, ["a cat"], steps=2).images, before)
    assert type(pipeline.copy().unet) is type(plain.unet) and pipeline.copy().hash == plain.hash
    # the statistics of any module, run by the caller
    x, states = torch.randn(1, 4, 16, 16), plain.embed(["a cat"])
    one, two = (
        subspace.statistics(
            p.unet,
            FEED_FORWARD,
            range(1),
            run=lambda items, p=p: p.unet(x, 500, states),
            owner=lambda items: [0],
            progress=False,
        )
        for p in (plain, pipeline)
    )
    assert one.names == two.names and all(
        torch.allclose(one.sums[name], two.sums[name], rtol=1e-4) for name in one.names
    )


def test_a_hook_of_the_callers_own_sees_a_compiled_unet(parts):
    compiled_whole(parts)
    pipeline, seen = Pipeline.of(parts), []
    denoise(pipeline, ["a cat"], steps=2)
    handle = pipeline.layers[next(iter(pipeline.layers))].module.register_forward_hook(
        lambda module, args, out: seen.append(out)
    )

    class Around:
        def __enter__(self):
            seen.append("step")

        def __exit__(self, *_):
            pass

    denoise(pipeline, ["a cat"], steps=2, watch=lambda step: Around())
    handle.remove()
    assert [isinstance(one, str) for one in seen] == [True, False] * 3


def test_split_projections_of_a_fused_unet_are_refused_and_joint_ones_are_served(parts):
    plain, other = Pipeline.of(parts), copy.deepcopy(parts)
    mask = subspace.Mask.of(
        {
            name: torch.ones(layer.d_out, layer.d_in, dtype=torch.bool)
            for name, layer in plain.named("*.attn2.to_k").items()
        }
    )
    other.fuse_qkv_projections()
    pipeline = Pipeline.of(other)
    with pytest.raises(DiffusionError, match=r"attn2.to_k' matches none .*to_kv.*unfuse_qkv_projections\(\) first"):
        statistics(pipeline, ["a cat"], **OPTIONS)
    with (
        pytest.raises(subspace.SubspaceError, match="attn2.to_k', which the model has not"),
        mask.applied(pipeline.unet, strict=False),
    ):
        pass
    want, found = (
        statistics(plain, ["a cat"], **OPTIONS),
        statistics(pipeline, ["a cat"], **OPTIONS | {"layers": (FEED_FORWARD, "*.attn2.to_kv")}),
    )
    for name, value in found.sums.items():
        torch.testing.assert_close(
            value, want.sums[name.replace("to_kv", "to_k")], rtol=1e-4, atol=1e-6 * float(value.max())
        )
    # an edit of the joint layer acts
    before = denoise(pipeline, ["a cat"], steps=2).images
    joint = subspace.Mask.of(
        {
            name: torch.ones(layer.d_out, layer.d_in, dtype=torch.bool)
            for name, layer in pipeline.named("*.attn2.to_kv").items()
        }
    )
    with joint.applied(pipeline.unet):
        assert float((denoise(pipeline, ["a cat"], steps=2).images - before).abs().max()) > 1e-4
    # fused no longer: the joint layers stay in the modules and do not run
    other.unfuse_qkv_projections()
    found = statistics(pipeline, ["a cat"], **OPTIONS)
    assert found.layers == want.layers and not [
        name for name in linears(other.unet, "*") if "to_kv" in name or "to_qkv" in name
    ]
    with mask.applied(pipeline.unet, strict=False):
        assert float((denoise(pipeline, ["a cat"], steps=2).images - before).abs().max()) > 1e-4
    with pytest.raises(LinearError, match="to_kv.* matches none"):
        linears(other.unet, "*.attn2.to_kv")


def test_layers_under_adapters_are_refused_until_they_are_merged_or_off(parts, tmp_path):
    pipeline, other = (
        Pipeline.of(parts),
        {"seeds": (0,), "steps": 2, "layers": FEED_FORWARD, "folder": tmp_path / "sums"},
    )
    before = statistics(pipeline, ["a cat"], **OPTIONS)
    parts.unet.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_v"], init_lora_weights=False))
    mask = subspace.Mask.of(
        {
            name: torch.ones(layer.d_out, layer.d_in, dtype=torch.bool)
            for name, layer in pipeline.named(FEED_FORWARD).items()
        }
    )
    for call in (
        lambda: statistics(pipeline, ["a cat"], **OPTIONS),
        lambda: pipeline.named("*.attn2.to_k"),
        lambda: relearned(pipeline),
    ):
        with pytest.raises(DiffusionError, match=r"adapter.*fuse_lora"):
            call()
    # other layers are read as they are, with the adapter's effect on what goes into them, and at another scale they are
    # other sums
    full = statistics(pipeline, ["a cat"], **other)
    assert not all(torch.allclose(value, before.sums[name], rtol=1e-3) for name, value in full.sums.items())
    parts.unet.set_adapters("default", 0.5)
    half = statistics(pipeline, ["a cat"], **other)
    assert not all(torch.equal(value, half.sums[name]) for name, value in full.sums.items())
    with mask.applied(pipeline.unet, strict=False):
        pass
    parts.unet.disable_adapters()
    off = statistics(pipeline, ["a cat"], **OPTIONS)
    assert all(torch.allclose(value, before.sums[name], rtol=1e-4) for name, value in off.sums.items())
    # merged: what the layer applies is its weight
    parts.unet.enable_adapters()
    parts.unet.fuse_lora()
    merged = statistics(pipeline, ["a cat"], **OPTIONS)
    assert all(
        torch.allclose(merged.sums[name], value, rtol=1e-3, atol=1e-5 * float(value.max()))
        for name, value in half.sums.items()
    )


def test_what_cannot_be_identified_is_not_kept_in_a_folder(parts, tmp_path):
    pipeline, lock = Pipeline.of(parts), threading.Lock()
    handle = parts.text_encoder.register_forward_hook(lambda module, args, out: lock and None)
    with pytest.raises(
        DiffusionError,
        match="text_encoder: .*cannot be told from another one of these weights; take it off, or leave folder out",
    ):
        statistics(pipeline, ["a cat"], folder=tmp_path / "sums", **OPTIONS)
    assert len(statistics(pipeline, ["a cat"], **OPTIONS)) == 1
    handle.remove()


def test_an_attention_processor_that_computes_something_else_is_another_state(parts):
    pipeline, before = Pipeline.of(parts), Pipeline.of(parts).state()
    parts.enable_attention_slicing(1)
    assert pipeline.state() == before, "the same attention, in slices"

    class Halved(AttnProcessor):
        def __call__(self, attn, hidden_states, **options):
            return super().__call__(attn, hidden_states, **options) / 2

    parts.unet.set_attn_processor(Halved())
    assert pipeline.state() != before
    # one that passes the norms of queries and keys over is told from one that does not
    attention = parts.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    attention.norm_q, attention.norm_k = torch.nn.LayerNorm(8), torch.nn.LayerNorm(8)
    states = []
    for processor in (AttnProcessor2_0(), AttnProcessor()):
        parts.unet.set_attn_processor(processor)
        states.append(pipeline.state())
    assert states[0] != states[1]


def relearned(pipeline):
    pictures = torch.zeros(2, 3, 32, 32)
    pictures[1] = 0.5
    return relearn(
        pipeline,
        (pictures[:1], ["a cat"]),
        (pictures[1:], ["a hat"]),
        measure=lambda images: images.flatten(2).mean(2),
        steps=1,
        batch=1,
        seeds=(0,),
        denoising_steps=1,
    )


def test_relearning_refuses_adapters_that_would_change_nothing(parts):
    parts.fuse_qkv_projections()
    with pytest.raises(
        DiffusionError, match=r"projections in the attention of .* do not run .*unfuse_qkv_projections\(\)"
    ):
        relearned(Pipeline.of(parts))
    parts.unfuse_qkv_projections()
    assert relearned(Pipeline.of(parts)).status.values.tolist() == ["complete"]


class With:
    """The parts of a pipeline, some of them others."""

    def __init__(self, parts, **change):
        self.components = parts.components | change
        for name, part in self.components.items():
            setattr(self, name, part)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("time_cond_proj_dim", 8),
        ("class_embed_type", "timestep"),
        ("num_class_embeds", 4),
        ("addition_embed_type", "text_time"),
        ("encoder_hid_dim_type", "ip_image_proj"),
        ("out_channels", 8),
    ],
)
def test_a_unet_that_is_told_more_than_a_text_is_refused(parts, key, value):
    parts.unet.register_to_config(**{key: value})
    with pytest.raises(DiffusionError, match=rf"unet: {key}={value!r}, so that|takes 4 channels and makes 8"):
        Pipeline.of(parts)


def test_a_pipeline_with_further_networks_is_refused(parts):
    for name in ("controlnet", "text_encoder_2"):
        with pytest.raises(DiffusionError, match=f"pictures of a With depend on {name} too"):
            Pipeline.of(With(parts, **{name: torch.nn.Identity()}))
    assert list(Pipeline.of(With(parts, image_encoder=torch.nn.Identity(), controlnet=None)).layers) == list(
        Pipeline.of(parts).layers
    )
