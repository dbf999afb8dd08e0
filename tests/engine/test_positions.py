"""Edits at positions of the text, whatever a forward is given: padding in front or behind, masks, caches, recurrent
states.

The reference is a row by itself, by a whole forward of a second copy with a plain hook on a block's input.
"""

import pytest
import torch
import transformers as T

import lens
from lens import Edit, EditError, Site
from tests.models import tiny

_SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
_GROUPED = dict(_SIZE, num_key_value_heads=2)
_STATE = dict(vocab_size=97, hidden_size=32, state_size=8, num_hidden_layers=4, initializer_range=0.3)
#: kind -> the model, the path of its blocks
MAKERS = {
    "opt": (
        lambda: T.OPTForCausalLM(
            T.OPTConfig(
                vocab_size=97,
                hidden_size=32,
                num_hidden_layers=4,
                ffn_dim=48,
                num_attention_heads=4,
                max_position_embeddings=64,
                word_embed_proj_dim=32,
                init_std=0.3,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=1,
            )
        ),
        "model.decoder.layers",
    ),
    "gpt_neo": (
        lambda: T.GPTNeoForCausalLM(
            T.GPTNeoConfig(
                vocab_size=97,
                hidden_size=32,
                num_layers=4,
                num_heads=4,
                attention_types=[[["global", "local"], 2]],
                window_size=6,
                max_position_embeddings=64,
                initializer_range=0.3,
                bos_token_id=0,
                eos_token_id=0,
            )
        ),
        "transformer.h",
    ),
    "mamba": (lambda: T.MambaForCausalLM(T.MambaConfig(**_STATE)), "backbone.layers"),
    "falcon_mamba": (lambda: T.FalconMambaForCausalLM(T.FalconMambaConfig(**_STATE)), "backbone.layers"),
    "mamba2": (
        lambda: T.Mamba2ForCausalLM(
            T.Mamba2Config(
                vocab_size=97,
                hidden_size=32,
                num_heads=4,
                head_dim=16,
                state_size=8,
                num_hidden_layers=4,
                n_groups=2,
                chunk_size=8,
                initializer_range=0.3,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
            )
        ),
        "backbone.layers",
    ),
    "rwkv": (
        lambda: T.RwkvForCausalLM(
            T.RwkvConfig(
                vocab_size=97,
                context_length=64,
                hidden_size=32,
                num_hidden_layers=4,
                rescale_every=2,
                bos_token_id=0,
                eos_token_id=0,
            )
        ),
        "rwkv.blocks",
    ),
    "minimax": (
        lambda: T.MiniMaxForCausalLM(
            T.MiniMaxConfig(
                **_GROUPED,
                head_dim=8,
                num_local_experts=4,
                num_experts_per_tok=2,
                layer_types=["linear_attention", "full_attention"] * 2,
                block_size=8,
            )
        ),
        "model.layers",
    ),
    "bamba": (
        lambda: T.BambaForCausalLM(
            T.BambaConfig(
                **_GROUPED,
                attn_layer_indices=[1, 3],
                mamba_n_heads=4,
                mamba_d_head=16,
                mamba_d_state=8,
                mamba_chunk_size=8,
                mamba_n_groups=1,
            )
        ),
        "model.layers",
    ),
    "longrope": (
        lambda: T.LlamaForCausalLM(
            T.LlamaConfig(
                **_GROUPED,
                rope_parameters={
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "original_max_position_embeddings": 8,
                    "short_factor": [1.0] * 4,
                    "long_factor": [3.0, 5.0, 7.0, 9.0],
                },
            )
        ),
        "model.layers",
    ),
    "llama4": (
        lambda: T.Llama4ForCausalLM(
            T.Llama4TextConfig(
                **_GROUPED,
                head_dim=8,
                intermediate_size_mlp=48,
                num_local_experts=4,
                num_experts_per_tok=1,
                interleave_moe_layer_step=2,
                attention_chunk_size=16,
                no_rope_layer_interval=2,
                floor_scale=4,
                attn_scale=0.3,
                attn_temperature_tuning=True,
            )
        ),
        "model.layers",
    ),
}
IDS = torch.tensor([[5, 17, 3, 88, 41, 9, 60]])
SHORT = torch.tensor([[11, 13, 19, 23]])
FRONT = torch.cat([IDS, torch.cat([torch.zeros(1, 3, dtype=torch.long), SHORT], 1)])
BEHIND = torch.cat([IDS, torch.cat([SHORT, torch.zeros(1, 3, dtype=torch.long)], 1)])
VALUE = 3 * torch.randn(32, generator=torch.Generator().manual_seed(4))


def masks(front):
    two = torch.ones(2, 7, dtype=torch.long)
    two[1, slice(0, 3) if front else slice(4, 7)] = 0
    square = torch.ones(7, 7).tril().bool()[None, None] & two.bool()[:, None, None]
    return {
        "two dimensions": two,
        "four, boolean": square,
        "four, added": torch.zeros(square.shape).masked_fill(~square, torch.finfo(torch.float32).min),
    }


def make(kind):
    torch.manual_seed(1)
    model = MAKERS[kind][0]().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for name, p in model.named_parameters():
        if p.ndim == 1 and not name.endswith(("A_log", ".D", "dt_bias")):
            p.add_(torch.randn(p.shape, generator=generator) * 0.2)
        if kind == "rwkv" and (p.ndim == 2 or name.endswith(("time_decay", "time_first"))):
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    return model


def edit(position):
    return Edit(Site("resid_pre", 1, position=position), "add", VALUE)


@torch.no_grad()
def by_hand(model, layers, ids, *positions):
    """Logits ``[position, vocab]`` of a whole forward with the vector added to the input of block 1 at positions, those
    that are there.
    """

    def add(_, args, kwargs):
        x = (args[0] if args else kwargs["hidden_states"]).clone()
        x[:, [p for p in positions if p < x.shape[1]]] += VALUE
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

    handle = model.get_submodule(layers)[1].register_forward_pre_hook(add, with_kwargs=True)
    try:
        return model(ids, use_cache=False).logits[0]
    finally:
        handle.remove()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("front", [True, False])
def test_a_padded_row_behaves_as_alone_under_the_same_edit(front, attention):
    model, plain = tiny("llama"), tiny("llama")
    model.set_attn_implementation(attention)
    ids, at = (FRONT, slice(3, 7)) if front else (BEHIND, slice(0, 4))
    for position, absolute in ((1, [1]), (-2, [2]), ([0, -1], [0, 3]), (slice(-2, None), [2, 3]), (None, [0, 1, 2, 3])):
        want = by_hand(plain, "model.layers", SHORT, *absolute)
        for name, mask in masks(front).items():
            if attention == "eager" and mask.dtype == torch.bool and mask.ndim == 4:
                continue  # eager attention adds its mask to the scores
            with torch.no_grad(), lens.edited(model, edit(position)):
                got = model(ids, attention_mask=mask, use_cache=False).logits[1, at]
            assert (got - want).abs().max() <= 1e-4, (position, name)
    assert (by_hand(plain, "model.layers", SHORT, 1) - plain(SHORT).logits[0]).abs().max() > 0.1


def test_ids_that_number_the_columns_do_not_count_padding_into_the_text():
    model, plain = tiny("llama"), tiny("llama")
    with torch.no_grad(), lens.edited(model, edit(1)):
        got = model(
            FRONT, attention_mask=masks(True)["two dimensions"], position_ids=torch.arange(7)[None], use_cache=False
        ).logits
    for row, ids, first in ((0, IDS, 0), (1, SHORT, 3)):
        assert (got[row, first:] - by_hand(plain, "model.layers", ids, 1)).abs().max() <= 1e-4


@pytest.mark.parametrize("position", [1, 5, -1])
def test_a_step_after_a_padded_cache_finds_its_place_by_the_mask(position):
    model, plain, mask = tiny("llama"), tiny("llama"), masks(True)["two dimensions"]
    with torch.no_grad(), lens.edited(model, edit(position)):
        first = model(FRONT[:, :6], attention_mask=mask[:, :6], use_cache=True)
        got = model(FRONT[:, 6:], attention_mask=mask, past_key_values=first.past_key_values, use_cache=True).logits[
            :, -1
        ]
    # counted from the end of the text so far, the last token of the prompt is edited and then the new one
    at = {1: ([1], [1]), 5: ([5], []), -1: ([5, 6], [2, 3])}[position]
    for row, ids, places in ((0, IDS, at[0]), (1, SHORT, at[1])):
        assert (got[row] - by_hand(plain, "model.layers", ids, *places)[-1]).abs().max() <= 1e-4


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("kind", ["mamba", "falcon_mamba", "mamba2", "rwkv", "opt", "minimax", "bamba"])
def test_generation_meets_positions_through_every_kind_of_cache(kind, use_cache):
    model, plain, layers = make(kind), make(kind), MAKERS[kind][1]
    for position in (0, 2, 8):
        with lens.edited(model, edit(position)):
            out = model.generate(
                IDS,
                max_new_tokens=4,
                do_sample=False,
                use_cache=use_cache,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
            )
        for step, logits in enumerate(out.logits):
            want = by_hand(plain, layers, out.sequences[:, : 7 + step], position)[-1]
            assert (logits[0] - want).abs().max() <= 2e-3, (position, step)


def test_the_text_behind_a_recurrent_state_made_elsewhere_is_not_guessed():
    model = make("mamba2")
    with torch.no_grad():
        state = model(IDS[:, :6], use_cache=True).cache_params
        with pytest.raises(EditError, match="position=6.*recurrent state alone"), lens.edited(model, edit(6)):
            model(IDS[:, 6:], cache_params=state, use_cache=True)
        with lens.edited(model, edit(None)):
            assert model(IDS[:, 6:], cache_params=state, use_cache=True).logits.isfinite().all()


def test_opt_is_edited_where_its_decoder_is_called():
    model, plain = make("opt"), make("opt")
    with torch.no_grad(), lens.edited(model, edit(3)):
        got = model(IDS).logits[0]
    assert (got - by_hand(plain, "model.decoder.layers", IDS, 3)).abs().max() <= 1e-4


def test_padding_without_position_ids_is_refused_where_a_model_counts_it_and_served_with_them():
    model, plain, mask = tiny("gpt2"), tiny("gpt2"), masks(True)["two dimensions"]
    with torch.no_grad():
        with (
            pytest.raises(EditError, match="'gpt2'.*left-padded rows without position_ids.*Hand in position_ids"),
            lens.edited(model, edit(1)),
        ):
            model(FRONT, attention_mask=mask)
        with lens.edited(model, edit(1)):
            got = model(FRONT, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits[1, 3:]
    assert (got - by_hand(plain, "transformer.h", SHORT, 1)).abs().max() <= 1e-4


@pytest.mark.parametrize("kind", ["rwkv", "llama4"])
def test_left_padding_is_refused_where_no_way_is_right(kind):
    with pytest.raises(EditError, match="one at a time"), torch.no_grad(), lens.edited(model := make(kind), edit(1)):
        model.generate(
            FRONT, attention_mask=masks(True)["two dimensions"], max_new_tokens=2, do_sample=False, pad_token_id=0
        )


def chunks(model, ids, cuts, numbered):
    """Logits of a text handed in piece by piece."""
    cache, at, parts = None, 0, []
    name = "cache_params" if "mamba" in model.config.model_type else "past_key_values"
    for n in cuts:
        more = {} if cache is None else {name: cache}
        out = model(
            ids[:, at : at + n],
            use_cache=True,
            **more,
            **({"position_ids": torch.arange(at, at + n)[None]} if numbered else {}),
        )
        cache, at = getattr(out, name), at + n
        parts.append(out.logits[0])
    return torch.cat(parts)


@pytest.mark.parametrize(
    "kind, cuts, numbered, said",
    [
        ("minimax", [4, 3], True, "one at a time"),
        ("mamba", [4, 3], False, "one at a time"),
        ("falcon_mamba", [4, 3], False, "one at a time"),
    ],
)
def test_ways_of_decoding_that_give_another_text_are_refused_and_their_advice_holds(kind, cuts, numbered, said):
    model, plain = make(kind), make(kind)
    want = by_hand(plain, MAKERS[kind][1], IDS, 5)
    with torch.no_grad(), lens.edited(model, edit(5)):
        with pytest.raises(EditError, match=said):
            chunks(model, IDS, cuts, numbered)
        good = chunks(model, IDS, [4, 1, 1, 1], said.startswith("Hand") or numbered)
        assert (good - want).abs().max() <= 2e-3
    assert (chunks(plain, IDS, cuts, numbered) - plain(IDS, use_cache=False).logits[0]).abs().max() > 0.1, (
        "the library's numbers are wrong here without any edit"
    )


@pytest.mark.parametrize("kind", ["minimax", "bamba"])
def test_steps_by_hand_without_position_ids_are_the_persons_own_and_the_edit_meets_the_token_named(kind):
    """These models count each step from 0; their numbers are their own, and a warning says so."""
    model, plain, calls = make(kind), make(kind), []

    def third(_, args, kwargs):
        calls.append(1)
        if len(calls) == 3:  # of the pieces of 4, 1, 1 and 1 tokens the one that holds token 5
            x = args[0] if args else kwargs["hidden_states"]
            return ((x + VALUE, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x + VALUE})

    handle = plain.get_submodule(MAKERS[kind][1])[1].register_forward_pre_hook(third, with_kwargs=True)
    with torch.no_grad():
        want = chunks(plain, IDS, [4, 1, 1, 1], False)
        handle.remove()
        with (
            lens.edited(model, edit(5)),
            pytest.warns(UserWarning, match="Hand in position_ids. The edit acts on the token named"),
        ):
            got = chunks(model, IDS, [4, 1, 1, 1], False)
        with lens.edited(model, edit(5)):
            numbered = chunks(model, IDS, [4, 1, 1, 1], True)
    assert len(calls) == 4 and (got - want).abs().max() <= 1e-4
    assert (numbered - by_hand(plain, MAKERS[kind][1], IDS, 5)).abs().max() <= 2e-3 < (numbered - got).abs().max()


def test_caches_of_fixed_size_and_stretched_angles_are_refused_where_they_are_wrong():
    options = dict(max_new_tokens=4, do_sample=False, pad_token_id=0)
    with pytest.raises(EditError, match="'gpt_neo'.*static cache"), lens.edited(model := make("gpt_neo"), edit(8)):
        model.generate(IDS, cache_implementation="static", **options)
    with (
        pytest.raises(EditError, match="other rotary frequencies for 9 tokens than its cache began with"),
        lens.edited(model := make("longrope"), edit(8)),
    ):
        model.generate(IDS, **options)
    model, plain = make("longrope"), make("longrope")
    with lens.edited(model, edit(8)):
        ids = model.generate(IDS, use_cache=False, **options)
    for n in range(7, 11):
        assert int(by_hand(plain, "model.layers", ids[:, :n], 8)[-1].argmax()) == int(ids[0, n])


def test_a_draft_and_the_end_of_the_text_do_not_go_together():
    model, plain = tiny("llama"), tiny("llama")
    options = dict(max_new_tokens=4, do_sample=False, pad_token_id=0, eos_token_id=None, prompt_lookup_num_tokens=3)
    repeated = torch.tensor([[5, 17, 3, 88, 5, 17, 3]])
    with pytest.raises(EditError, match="generation with a draft"), lens.edited(model, edit(-1)):
        model.generate(repeated, **options)
    with lens.edited(model, edit(8)):
        ids = model.generate(repeated, **options)
    for n in range(7, 11):
        assert int(by_hand(plain, "model.layers", ids[:, :n], 8)[-1].argmax()) == int(ids[0, n])


def test_masks_that_say_nothing_of_the_text_are_refused():
    model = tiny("llama")
    with torch.no_grad(), lens.edited(model, edit(1)):
        first = model(IDS[:, :5], use_cache=True).past_key_values
        with pytest.raises(EditError, match="attention_mask covers the 2 new tokens"):
            model(IDS[:, 5:], attention_mask=torch.tensor([[0, 1]]), past_key_values=first)
    with pytest.raises(EditError, match="called by itself"), torch.no_grad(), lens.edited(model, edit(1)):
        model.model.layers[1](torch.zeros(1, 2, 32))


def test_several_texts_in_one_row_are_edited_each_where_they_are_kept_apart_and_refused_where_they_are_not():
    model, plain = tiny("llama"), tiny("llama")
    row, at = torch.cat([SHORT, IDS], 1), torch.cat([torch.arange(4), torch.arange(7)])[None]
    with torch.no_grad():
        with lens.edited(model, edit(1)):
            got = model(row, position_ids=at, use_cache=False).logits[0]
        for part, ids in ((got[:4], SHORT), (got[4:], IDS)):
            assert (part - by_hand(plain, "model.layers", ids, 1)).abs().max() <= 1e-4
        for options in (dict(use_cache=True), dict(use_cache=False, attention_mask=torch.ones_like(row)), {}):
            alone = plain(IDS).logits[0]
            assert (plain(row, position_ids=at, **options).logits[0, 4:] - alone).abs().max() > 0.1, (
                "the texts leak into each other without any edit"
            )
            with (
                pytest.raises(EditError, match="several texts in one row.*use_cache=False and no attention_mask"),
                lens.edited(model, edit(1)),
            ):
                model(row, position_ids=at, **options)
        with pytest.raises(EditError, match="counted from the end"), lens.edited(model, edit(-1)):
            model(row, position_ids=at, use_cache=False)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_a_bridge_meets_the_same_positions(kind, tiny_bridge):
    if kind == "opt":
        from tests.models import word_tokenizer

        model, plain, layers = lens.models.wrap(make("opt"), word_tokenizer(), "tiny"), make("opt"), MAKERS["opt"][1]
    else:
        model, plain, layers = tiny_bridge(kind)[0], tiny(kind), "model.layers" if kind == "llama" else "transformer.h"
    for position, absolute in ((1, 1), (-2, 2)):
        with torch.no_grad(), lens.edited(model, edit(position)):
            got = model(FRONT, attention_mask=masks(True)["two dimensions"])
        got = getattr(got, "logits", got)[1, 3:]
        assert (got - by_hand(plain, layers, SHORT, absolute)).abs().max() <= 1e-4
    hf = getattr(model, "original_model", model)
    with torch.no_grad(), lens.edited(model, edit(7)):
        first = hf(IDS, use_cache=True)
        got = hf(torch.tensor([[33]]), past_key_values=first.past_key_values, use_cache=True).logits[0, -1]
    assert (got - by_hand(plain, layers, torch.cat([IDS, torch.tensor([[33]])], 1), 7)[-1]).abs().max() <= 1e-4


def test_a_forward_whose_tokens_cannot_be_told_does_not_take_the_positions_of_the_one_before():
    model = tiny("llama")
    model.model.embed_tokens.register_forward_pre_hook(lambda _, given: (torch.as_tensor(given[0]),))
    with torch.no_grad(), lens.edited(model, edit(1)):
        first = model(IDS[:, :4], use_cache=True)
        model(IDS[:, 4:], past_key_values=first.past_key_values, use_cache=True)
        with pytest.raises(EditError, match="its tokens cannot be told; call it with input_ids"):
            model(IDS[:, :3].tolist(), use_cache=False)
        got = model(IDS, use_cache=False).logits[0]
    assert (got - by_hand(tiny("llama"), "model.layers", IDS, 1)).abs().max() <= 1e-4
