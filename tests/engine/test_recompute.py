"""Gradients through edits under gradient checkpointing, where the backward pass computes blocks again, also after the
edit has ended.
"""

from contextlib import nullcontext

import pytest
import torch
import transformers as T

import lens
from lens import Edit, EditError, Site
from lens.engine.linear import every_linear
from lens.engine.recompute import checkpointing
from lens.engine.weights import WeightError, edited_weights
from lens.training import Recipe, Rows, TrainingError, train

IDS = torch.arange(5, 17)[None]
PUSH = 2 * torch.randn(32, generator=torch.Generator().manual_seed(0))
EDITS = {
    "add attn_out": [Edit(Site("attn_out", 1), "add", PUSH)],
    "replace mlp_out": [Edit(Site("mlp_out", 1, position=[2, 3]), "replace", PUSH)],
    "zero a head": [Edit(Site("z", 1, head=1), "zero")],
    "add resid_mid": [Edit(Site("resid_mid", 1, position=4), "add", PUSH)],
    "scale a pattern": [Edit(Site("pattern", 1, head=0), "scale", scale=0.5)],
    "add resid_pre and resid_post": [Edit(Site("resid_pre", 1), "add", PUSH), Edit(Site("resid_post", 1), "add", PUSH)],
    "two at one place": [
        Edit(Site("z", 2, head=1), "scale", scale=2.0),
        Edit(Site("z", 2, head=1), "add", torch.ones(8)),
        Edit(Site("neuron", 0), "scale", scale=0.5),
    ],
}


def make(reentrant, kind="llama"):
    """A model in training; ``reentrant`` None: without checkpointing."""
    torch.manual_seed(0)
    size = dict(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    model = (
        T.LlamaForCausalLM(T.LlamaConfig(**size, num_key_value_heads=2))
        if kind == "llama"
        else T.GPTNeoXForCausalLM(T.GPTNeoXConfig(**size))
    )
    model.train()
    if reentrant is not None:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    return model


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters()}


def run(edits, reentrant, inside, kind="llama"):
    model = make(reentrant, kind)
    with lens.edited(model, *edits):
        loss = model(IDS, labels=IDS, use_cache=False).loss
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return model, gradients(model)


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name, grad in want.items():
        torch.testing.assert_close(got[name], grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", EDITS)
def test_the_gradient_is_that_without_checkpointing(name, reentrant, inside):
    _, want = run(EDITS[name], None, True)
    model, got = run(EDITS[name], reentrant, inside)
    assert_same(got, want)
    untouched, plain = run([], reentrant, True)
    assert any((want[n] - plain[n]).abs().max() > 1e-3 for n in want)

    def hooks(model):
        return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]

    assert hooks(model) == hooks(untouched)
    assert all(
        b._gradient_checkpointing_func.__class__.__module__ != "lens.engine.recompute" for b in checkpointing(model)
    )


@pytest.mark.parametrize("reentrant", [True, False])
def test_each_forward_keeps_the_edits_and_positions_that_it_was_made_under(reentrant):
    texts = [IDS, IDS[:, :7].flip(1), IDS[:, 2:]]
    first, second = EDITS["zero a head"], [Edit(Site("mlp_out", 1, position=-2), "replace", PUSH)]

    def losses(model):
        made = []
        with lens.edited(model, *first):
            made.append(model(texts[0], labels=texts[0], use_cache=False).loss)
            with lens.edited(model, *second):
                made.append(model(texts[1], labels=texts[1], use_cache=False).loss)
        made.append(model(texts[2], labels=texts[2], use_cache=False).loss)
        return made

    plain, model = make(None), make(reentrant)
    sum(losses(plain)).backward()
    for loss in losses(model):
        loss.backward()
    assert_same(gradients(model), gradients(plain))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", ["zero a head", "add resid_mid"])
def test_a_forward_that_was_made_without_an_edit_is_computed_again_without_it(name, reentrant):
    _, want = run([], None, True)
    model = make(reentrant)
    loss = model(IDS, labels=IDS, use_cache=False).loss
    with lens.edited(model, *EDITS[name]):
        model(IDS[:, :5].repeat(2, 1), use_cache=False)
        loss.backward()
    assert_same(gradients(model), want)


@pytest.mark.parametrize("reentrant", [True, False])
def test_left_padded_rows_are_computed_again_at_their_own_positions(reentrant):
    ids = torch.cat([IDS[:, :8], torch.cat([torch.zeros(1, 3, dtype=torch.long), IDS[:, 7:]], 1)])
    mask = torch.ones_like(ids)
    mask[1, :3] = 0

    def run_padded(kind):
        model = make(kind)
        with lens.edited(model, Edit(Site("attn_out", 1, position=1), "add", PUSH)):
            out = model(ids, attention_mask=mask, use_cache=False).logits
        out[mask.bool()].square().mean().backward()
        return gradients(model)

    assert_same(run_padded(reentrant), run_padded(None))


def test_a_block_of_another_kind_and_checkpointing_switched_on_inside():
    _, want = run([Edit(Site("attn_out", 1), "add", PUSH)], None, True, "gpt_neox")
    model = make(None, "gpt_neox")
    with lens.edited(model, Edit(Site("attn_out", 1), "add", PUSH)):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        loss = model(IDS, labels=IDS, use_cache=False).loss
    loss.backward()
    assert_same(gradients(model), want)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_whole_forward_inside_a_checkpoint_of_the_persons_own_is_refused(reentrant):
    from torch.utils.checkpoint import checkpoint

    model = make(None)
    with (
        pytest.raises(EditError, match="torch.utils.checkpoint.*gradient_checkpointing_enable"),
        lens.edited(model, *EDITS["add attn_out"]),
    ):
        checkpoint(
            lambda x: model(inputs_embeds=x, use_cache=False).logits.sum(),
            torch.randn(1, 5, 32, requires_grad=True),
            use_reentrant=reentrant,
        )


@pytest.mark.parametrize("reentrant", [True, False])
def test_edited_weights_and_a_later_backward_are_refused_and_an_earlier_one_is_right(reentrant):
    name = "model.layers.1.mlp.up_proj"
    new = torch.randn(48, 32, generator=torch.Generator().manual_seed(1))

    def gradient(kind, inside):
        model = make(kind)
        with edited_weights(model, {name: new}):
            loss = model(IDS, labels=IDS, use_cache=False).loss
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        return gradients(model)

    assert_same(gradient(reentrant, True), gradient(None, True))
    with pytest.raises(WeightError, match="after an edit of weights had ended.*gradient_checkpointing_disable"):
        gradient(reentrant, False)


def test_training_with_something_round_its_forwards_is_refused_under_checkpointing():
    model = make(True)
    rows = Rows.of([(IDS[0, :4].tolist(), IDS[0, 4:].tolist())] * 2)

    def around(batch):
        return lens.edited(model, *EDITS["add attn_out"])

    with pytest.raises(TrainingError, match="around.*gradient_checkpointing_disable"):
        train(model, rows, Recipe(steps=1, batch=1, learning_rate=1e-3), around=around, progress=False)
    model.gradient_checkpointing_disable()
    assert (
        train(model, rows, Recipe(steps=1, batch=1, learning_rate=1e-3), around=around, progress=False).status
        == "complete"
    )


def checkpointed_by_hand(reentrant):
    """A model whose blocks are inside torch's checkpoint, which the library knows nothing of."""
    from torch.utils.checkpoint import checkpoint

    model = make(None)

    def inside(forward):
        return lambda hidden_states, **given: checkpoint(
            lambda x: forward(x, **given), hidden_states, use_reentrant=reentrant
        )

    for block in model.model.layers:
        block.forward = inside(block.forward)
    return model


@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize("reentrant", [True, False])
def test_blocks_that_somebody_checkpoints_by_hand_are_refused_where_a_gradient_may_follow(reentrant):
    model, plain = checkpointed_by_hand(reentrant), make(None)
    with pytest.raises(EditError, match="inside torch.utils.checkpoint by other means.*gradient_checkpointing_enable"):
        with lens.edited(model, *EDITS["add attn_out"]):
            model(IDS, labels=IDS, use_cache=False)
    with torch.no_grad():
        with lens.edited(model, *EDITS["add attn_out"]):
            got = model(IDS, use_cache=False).logits
        with lens.edited(plain, *EDITS["add attn_out"]):
            torch.testing.assert_close(got, plain(IDS, use_cache=False).logits)
    # a forward that was made without edits goes back without them, also while they are in force
    model, want = checkpointed_by_hand(reentrant), make(None)
    loss = model(IDS, labels=IDS, use_cache=False).loss
    with lens.edited(model, *EDITS["add attn_out"]):
        loss.backward()
    want(IDS, labels=IDS, use_cache=False).loss.backward()
    assert_same(gradients(model), gradients(want))


def in_torchs_wrapper(impl):
    """A model each of whose blocks is in the module that torch has for checkpointing."""
    from functools import partial

    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
        CheckpointImpl,
        apply_activation_checkpointing,
        checkpoint_wrapper,
    )

    model, blocks = make(None), []
    blocks += model.model.layers
    apply_activation_checkpointing(
        model,
        checkpoint_wrapper_fn=partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl[impl]),
        check_fn=lambda module: any(module is block for block in blocks),
    )
    return model


@pytest.mark.parametrize("impl", ["REENTRANT", "NO_REENTRANT"])
@pytest.mark.parametrize("training", [True, False])
def test_torchs_own_wrapper_is_told_of_edits_of_weights_and_of_the_stream(impl, training):
    def weights(model):
        layer = next(m for n, m in model.named_modules() if "layers.1" in n and n.endswith("down_proj"))
        name = next(n for n, linear in every_linear(model).items() if linear.module is layer)
        return edited_weights(model, {name: 0.2 * layer.weight.detach()})

    def backward(model, edit, inside):
        model.train(training)
        with edit(model):
            loss = model(IDS, labels=IDS, use_cache=False).loss
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        return [p.grad for p in model.parameters()]

    for edit, inside in (
        (weights, True),
        (lambda m: lens.edited(m, *EDITS["add resid_pre and resid_post"]), True),
        (lambda m: lens.edited(m, *EDITS["add resid_pre and resid_post"]), False),
    ):
        model = in_torchs_wrapper(impl)
        for got, want in zip(backward(model, edit, inside), backward(make(None), edit, True)):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
        assert not any("_Checkpointing" in type(m.__dict__.get("checkpoint_fn")).__name__ for m in model.modules())
    with pytest.raises(WeightError, match="came after an edit of weights had ended"):
        backward(in_torchs_wrapper(impl), weights, False)
    with pytest.raises(TrainingError, match="around.*gradient checkpointing"):
        train(
            in_torchs_wrapper(impl),
            Rows.of([([5, 6], [7, 8])] * 4),
            Recipe(steps=1, batch=1, learning_rate=1e-3),
            around=nullcontext,
            progress=False,
        )
