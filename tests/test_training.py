"""The training loop: against a loop written out here, over a killed process, with losses and adapters plugged in."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

import lens
from lens.models import weight_hash
from lens.training import LoRA, Recipe, Rows, TrainingError, order_of, train
from lens.training.copies import copy_of
from lens.training.recipe import step_seed

VOCAB = 23


def tiny(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=24,
            max_position_embeddings=32,
            tie_word_embeddings=True,
            attention_dropout=dropout,
            pad_token_id=0,
        )
    )


def some_rows(count=13, seed=0):
    draw = np.random.default_rng(seed)
    return Rows.of(
        [
            (
                draw.integers(1, VOCAB, draw.integers(1, 5)).tolist(),
                draw.integers(1, VOCAB, draw.integers(1, 4)).tolist(),
            )
            for _ in range(count)
        ]
    )


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


RECIPE = Recipe(steps=12, batch=5, learning_rate=1e-2, warmup=3, seed=4)


def test_rows_are_padded_and_count_the_answers():
    rows = Rows.of([([5, 6, 7], [8]), ([9], [10, 11])], pad=2)
    assert rows.ids.tolist() == [[5, 6, 7, 8], [9, 10, 11, 2]]
    assert rows.targets.tolist() == [[False, False, False, True], [False, True, True, False]]
    assert rows.lengths.tolist() == [4, 3]
    assert rows.take([1]).ids.tolist() == [[9, 10, 11]]
    assert rows.sha256() != Rows.of([([5, 6, 7], [8]), ([9, 10], [11])], pad=2).sha256()


@pytest.mark.parametrize(
    ("sequences", "message"), [([], "empty"), ([([], [1])], "prompt of 0"), ([([1], [])], "answer of 0")]
)
def test_rows_without_a_prompt_or_an_answer_are_refused(sequences, message):
    with pytest.raises(TrainingError, match=message):
        Rows.of(sequences)


def test_rows_that_do_not_fit_together_are_refused():
    ids, lengths = torch.ones(2, 3, dtype=torch.long), torch.tensor([3, 2])
    good = torch.tensor([[False, False, True], [False, True, False]])
    Rows(ids, good, lengths)
    for targets, message in (
        (good | torch.tensor([True, False, False]), "position 0"),
        (torch.tensor([[False, True, False], [False, False, True]]), "padding"),
        (good & False, "no token that counts"),
        (good.int(), "bool values"),
        (good[:, :2], "do not fit"),
    ):
        with pytest.raises(TrainingError, match=message):
            Rows(ids, targets, lengths)


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"batch": 1.5}, {"learning_rate": math.nan}, {"schedule": "step"}, {"clip": -1.0}, {"warmup": -1}],
)
def test_a_recipe_with_an_impossible_value_is_refused_by_name(change):
    with pytest.raises(TrainingError, match=f"{next(iter(change))}="):
        Recipe(**{"steps": 1, "batch": 1, "learning_rate": 0.1} | change)


def test_the_rate_follows_its_schedule():
    cosine, linear, constant = (
        Recipe(steps=100, batch=1, learning_rate=2.0, warmup=10, schedule=name)
        for name in ("cosine", "linear", "constant")
    )
    for recipe in (cosine, linear, constant):
        assert recipe.rate(0) == pytest.approx(0.2, rel=1e-2)
    assert cosine.rate(50) == pytest.approx(1.0) and linear.rate(75) == pytest.approx(0.5) and constant.rate(99) == 2.0
    assert cosine.rate(99) < 1e-3


def test_the_order_is_whole_permutations_and_known_from_the_seed():
    order = order_of(RECIPE, 13)
    flat = order.flatten().tolist()
    assert order.shape == (12, 5)
    assert sorted(flat[:13]) == sorted(flat[13:26]) == list(range(13)) and flat[:13] != flat[13:26]
    assert torch.equal(order, order_of(RECIPE, 13))
    assert not torch.equal(order, order_of(Recipe(**vars(RECIPE) | {"seed": 5}), 13))
    seen = []
    trained = train(tiny(), some_rows(), RECIPE, after_step=lambda batch: seen.append(batch.index))
    assert torch.equal(torch.stack(seen), order) and torch.equal(trained.order, order)


def test_losses_and_weights_are_those_of_a_plain_loop():
    """An independent loop: row by row without padding, no mask, torch's own AdamW, clipping by hand."""
    rows, model, plain = some_rows(), tiny(), tiny()
    trained = train(model, rows, RECIPE)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=RECIPE.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    for step, index in enumerate(order_of(RECIPE, len(rows)).tolist()):
        parts = []
        for number in index:
            ids = rows.ids[number, : rows.lengths[number]]
            log = F.log_softmax(plain(ids[None]).logits[0], -1)
            parts += [-log[at - 1, ids[at]] for at in range(len(ids)) if rows.targets[number, at]]
        loss = torch.stack(parts).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum((value.grad**2).sum() for value in plain.parameters()))
        for value in plain.parameters():
            value.grad *= min(1.0, 1.0 / (norm.item() + 1e-6))
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.learning_rate * min(1, (step + 1) / 3) * 0.5 * (1 + math.cos(math.pi * step / 12))
        optimizer.step()
        assert trained.losses["lm"][step] == pytest.approx(loss.item(), abs=2e-5)
        assert trained.losses["gradient_norm"][step] == pytest.approx(norm.item(), rel=2e-3)
    torch.testing.assert_close(weights(model), weights(plain), atol=2e-4, rtol=0)
    assert trained.status == "complete" and trained.step == 12
    assert trained.losses["lm"].iloc[-1] < trained.losses["lm"].iloc[0]


def test_a_hash_of_the_weights_is_that_of_the_trained_ones():
    """The hash is kept on the model until a weight changes, and a run is recorded under it."""
    model, hashes = tiny(), []
    hashes.append(weight_hash(model))
    train(model, some_rows(), RECIPE, after_step=lambda batch: hashes.append(weight_hash(model)))
    assert len(set(hashes)) == 13
    copy = tiny(1)
    copy.load_state_dict(model.state_dict())
    assert weight_hash(copy) == hashes[-1]


def test_terms_add_to_the_loss_and_its_gradient():
    """A term equal to the language-model loss at half weight and base weight one half is the plain run."""

    def half(model, batch, outputs):
        where = batch.targets[:, 1:]
        return 0.5 * F.cross_entropy(outputs.logits[:, :-1][where], batch.ids[:, 1:][where])

    plain, split = tiny(), tiny()
    reference = train(plain, some_rows(), RECIPE)
    trained = train(split, some_rows(), RECIPE, terms={"half": half, "absent": lambda *_: None}, base_weight=0.5)
    torch.testing.assert_close(weights(plain), weights(split), atol=1e-5, rtol=0)
    np.testing.assert_allclose(trained.losses["half"] * 2, reference.losses["lm"], atol=1e-5)
    np.testing.assert_allclose(trained.losses["total"], reference.losses["total"], atol=1e-5)
    assert trained.losses["absent"].isna().all()


def test_the_context_is_around_each_forward_and_only_there():
    import contextlib

    model, inside, calls = tiny(), [], []
    model.register_forward_hook(lambda *_: calls.append(bool(inside)))

    @contextlib.contextmanager
    def around(batch):
        inside.append(batch.step)
        yield
        inside.pop()

    train(
        model,
        some_rows(),
        RECIPE,
        around=around,
        evaluate=lambda step: {"loss": model(torch.ones(1, 2, dtype=torch.long)).logits.mean().item()},
        evaluate_at=[0, 12],
    )
    assert calls == [False] + [True] * 12 + [False]


def test_evaluation_leaves_no_trace_in_the_training():
    def evaluate(step):
        assert not model.training and not torch.is_grad_enabled()
        return {"draw": torch.rand(()).item(), "weight": weights(model).norm().item()}

    model = tiny(dropout=0.3)
    watched = train(model, some_rows(), RECIPE, evaluate=evaluate, evaluate_at=[0, 5, 12])
    alone = train(tiny(dropout=0.3), some_rows(), RECIPE)
    assert watched.losses.equals(alone.losses)
    assert watched.evaluations["step"].tolist() == [0, 5, 12]
    assert watched.evaluations["weight"].iloc[-1] == pytest.approx(weights(model).norm().item())


def test_only_the_named_parameters_move_and_requests_for_gradients_are_left_as_they_were():
    model, before = tiny().requires_grad_(False), tiny()
    train(model, some_rows(), RECIPE, parameters=lambda name: ".mlp." in name)
    for (name, value), (_, old) in zip(model.named_parameters(), before.named_parameters(), strict=True):
        assert torch.equal(value, old) == (".mlp." not in name), name
        assert not value.requires_grad and value.grad is None
    with pytest.raises(TrainingError, match="asks for gradients"):
        train(model, some_rows(), RECIPE)
    with pytest.raises(TrainingError, match="chooses none"):
        train(model, some_rows(), RECIPE, parameters=lambda name: "conv" in name)
    with pytest.raises(TrainingError, match="parameters has lm_tail"):
        train(model, some_rows(), RECIPE, parameters=["lm_tail"])


def test_with_adapters_only_the_adapters_move():
    from peft import LoraConfig, get_peft_model

    base = tiny()
    before = weights(base).clone()
    model = get_peft_model(base, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"]))
    adapters = {name: value.detach().clone() for name, value in model.named_parameters() if "lora_" in name}
    trained = train(model, some_rows(), RECIPE)
    now = dict(model.named_parameters())
    assert torch.equal(
        torch.cat([value.detach().flatten() for name, value in now.items() if "lora_" not in name]), before
    )
    assert adapters and all(not torch.equal(now[name], old) for name, old in adapters.items())
    assert trained.losses["lm"].iloc[-1] < trained.losses["lm"].iloc[0]


def test_calls_that_cannot_be_meant_are_refused():
    def go(**other):
        return train(tiny(), some_rows(), RECIPE, **other)

    with pytest.raises(TrainingError, match="evaluate_at=13"):
        go(evaluate=lambda step: {}, evaluate_at=[13])
    with pytest.raises(TrainingError, match="without evaluate"):
        go(evaluate_at=[1])
    with pytest.raises(TrainingError, match="name 'lm'"):
        go(terms={"lm": lambda *_: None})
    with pytest.raises(TrainingError, match="depends on no trained parameter"):
        go(base_weight=0.0)


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_stops_with_the_last_good_weights(poison, monkeypatch):
    monkeypatch.setattr("lens.training.loop.SNAPSHOTS", 4)

    def term(model, batch, outputs):
        if batch.step < 10:
            return None
        return outputs.logits.sum() * math.nan if poison == "loss" else torch.sqrt(outputs.logits.sum() * 0)

    model, reference = tiny(), tiny()
    with pytest.warns(UserWarning, match="diverged at step 10"):
        trained = train(model, some_rows(), RECIPE, terms={"poison": term})
    kept = {}
    train(
        reference,
        some_rows(),
        RECIPE,
        after_step=lambda batch: kept.__setitem__(batch.step + 1, weights(reference).clone()),
    )
    assert trained.status == "diverged" and trained.step == 8 and len(trained.losses) == 11
    assert torch.equal(weights(model), kept[8])


def spoiling(model, at, value=math.inf):
    """Called after each step: fills a weight with `value` once, after step `at`."""

    def poison(batch):
        if batch.step == at:
            with torch.no_grad():
                model.model.norm.weight.fill_(value)

    return poison


@pytest.mark.parametrize(("every", "back"), [(2, 6), (3, 6), (0, 0)])
def test_weights_that_are_not_finite_are_never_saved_and_the_newest_good_ones_stay(tmp_path, every, back):
    recipe, reference, kept = Recipe(**vars(RECIPE) | {"checkpoint_every": every}), tiny(), {0: weights(tiny())}
    whole = train(
        reference,
        some_rows(),
        recipe,
        after_step=lambda batch: kept.__setitem__(batch.step + 1, weights(reference).clone()),
    )
    model = tiny()
    with pytest.warns(UserWarning, match=f"diverged at step 8 .*after {back} steps"):
        trained = train(model, some_rows(), recipe, folder=tmp_path / "run", after_step=spoiling(model, 7))
    assert trained.status == "diverged" and trained.step == back and torch.equal(weights(model), kept[back])
    assert max([int(p.name[5:]) for p in (tmp_path / "run").glob("step-*")], default=0) == back
    model = tiny()
    again = train(model, some_rows(), recipe, folder=tmp_path / "run")
    assert again.status == "complete" and again.losses.equals(whole.losses) and torch.equal(weights(model), kept[12])


def test_weights_spoiled_by_the_last_step_are_a_divergence_too(tmp_path):
    model = tiny()
    with pytest.warns(UserWarning, match="a weight is not finite"):
        trained = train(
            model,
            some_rows(),
            Recipe(**vars(RECIPE) | {"checkpoint_every": 5}),
            folder=tmp_path,
            after_step=spoiling(model, 11, math.nan),
        )
    assert (
        trained.status == "diverged"
        and trained.step == 10
        and torch.isfinite(weights(model)).all()
        and not (tmp_path / "step-00000012").exists()
    )


def test_weights_that_gave_a_bad_loss_are_no_checkpoint_to_go_on_from(tmp_path):
    """At this rate the weights after the first step are finite, and nothing can be computed with them."""
    recipe = Recipe(steps=9, batch=5, learning_rate=1e30, clip=0.0, checkpoint_every=1)
    for _ in range(2):
        model = tiny()
        with pytest.warns(UserWarning, match="diverged at step 1 .*after 0 steps"):
            trained = train(model, some_rows(), recipe, folder=tmp_path)
        assert trained.status == "diverged" and torch.equal(weights(model), weights(tiny()))


def test_a_checkpoint_that_is_not_finite_is_passed_over(tmp_path):
    from safetensors.torch import load_file, save_file

    recipe = Recipe(**vars(RECIPE) | {"checkpoint_every": 4})
    model = tiny()
    reference = train(model, some_rows(), recipe, folder=tmp_path)
    for step in (12, 8):
        held = load_file(tmp_path / f"step-{step:08d}" / "weights.safetensors")
        held["model.norm.weight"] = held["model.norm.weight"] * math.nan
        save_file(held, tmp_path / f"step-{step:08d}" / "weights.safetensors")
        if step == 12:
            other = tiny()
            with pytest.warns(UserWarning, match="model.norm.weight are not finite"):
                again = train(other, some_rows(), recipe, folder=tmp_path)
            assert again.losses.equals(reference.losses) and torch.equal(weights(other), weights(model))
            assert torch.isfinite(
                load_file(tmp_path / "step-00000012" / "weights.safetensors")["model.norm.weight"]
            ).all(), "it is written anew"
            save_file(held, tmp_path / "step-00000012" / "weights.safetensors")
    with (
        pytest.warns(UserWarning, match="not finite"),
        pytest.raises(TrainingError, match="no checkpoint in it can be used"),
    ):
        train(tiny(), some_rows(), recipe, folder=tmp_path)


def test_fresh_rows_are_drawn_from_the_seed_and_the_step():
    def fresh(step, generator):
        draws.append((step, torch.randint(1, VOCAB, (5, 4), generator=generator)))
        targets = torch.tensor([False, False, False, True]).expand(5, 4)
        return Rows(draws[-1][1], targets, torch.full((5,), 4))

    draws = []
    first = train(tiny(), fresh, RECIPE)
    second = train(tiny(), fresh, RECIPE)
    assert first.losses.equals(second.losses)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(draws[:12], draws[12:], strict=True)) and not torch.equal(
        draws[0][1], draws[1][1]
    )
    with pytest.raises(TrainingError, match="gave 5 rows; expected recipe.batch=6"):
        train(tiny(), fresh, Recipe(steps=2, batch=6, learning_rate=0.1))


def test_a_stopped_run_goes_on_to_the_same_losses_and_weights(tmp_path):
    whole = tiny(dropout=0.2)
    reference = train(
        whole, some_rows(), RECIPE, evaluate=lambda step: {"norm": weights(whole).norm().item()}, evaluate_at=[2, 9]
    )
    calls = iter(range(100))
    model = tiny(dropout=0.2)
    look = {"evaluate": lambda step: {"norm": weights(model).norm().item()}, "evaluate_at": [2, 9]}
    part = train(model, some_rows(), RECIPE, folder=tmp_path / "run", stop=lambda: next(calls) == 7, **look)
    assert part.status == "stopped" and part.step == 7 and len(part.losses) == 7
    model = tiny(dropout=0.2)
    rest = train(model, some_rows(), RECIPE, folder=tmp_path / "run", **look)
    assert (
        rest.status == "complete"
        and rest.losses.equals(reference.losses)
        and rest.evaluations.equals(reference.evaluations)
    )
    assert torch.equal(weights(model), weights(whole))
    model = tiny(dropout=0.2)
    again = train(model, some_rows(), RECIPE, folder=tmp_path / "run", terms={}, **look)
    assert again.losses.equals(reference.losses) and torch.equal(weights(model), weights(whole))


def test_a_folder_of_another_run_is_refused(tmp_path):
    def go(model=None, rows=None, recipe=RECIPE, **other):
        return train(model or tiny(), rows or some_rows(), recipe, folder=tmp_path / "run", **other)

    go()
    with pytest.raises(TrainingError, match="another recipe"):
        go(recipe=Recipe(**vars(RECIPE) | {"learning_rate": 2e-2}))
    with pytest.raises(TrainingError, match="another rows"):
        go(rows=some_rows(seed=1))
    with pytest.raises(TrainingError, match="another losses"):
        go(terms={"more": lambda *_: None})
    with pytest.raises(TrainingError, match="another starting weights"):
        go(model=tiny(1))
    with pytest.raises(TrainingError, match="another parameters"):
        go(parameters=["model.norm.weight"])
    go(recipe=Recipe(**vars(RECIPE) | {"checkpoint_every": 3}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(TrainingError, match="not empty"):
        train(tiny(), some_rows(), RECIPE, folder=tmp_path / "mine")
    with pytest.raises(TrainingError, match="is a file"):
        train(tiny(), some_rows(), RECIPE, folder=tmp_path / "mine" / "thesis.txt")


def test_two_checkpoints_stay_and_a_damaged_one_is_passed_over(tmp_path):
    recipe = Recipe(**vars(RECIPE) | {"checkpoint_every": 4})
    reference = train(tiny(), some_rows(), recipe, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000008", "step-00000012"]
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".json", ".safetensors"}
    (tmp_path / "step-00000012" / "weights.safetensors").write_bytes(b"cut")
    with pytest.warns(UserWarning, match="cannot be used"):
        again = train(tiny(), some_rows(), recipe, folder=tmp_path)
    assert again.losses.equals(reference.losses)


LONG = Recipe(steps=80, batch=5, learning_rate=1e-2, warmup=3, seed=4, checkpoint_every=5)
CHILD = """
import sys, json, time
sys.path.insert(0, {tests!r})
from test_training import LONG, some_rows, tiny, train
trained = train(
    tiny(dropout=0.2), some_rows(), LONG, folder={folder!r}, after_step=lambda batch: time.sleep({pause}),
    progress=False
)
print(json.dumps([trained.status, trained.losses["total"].tolist()]))
"""


@pytest.mark.slow
def test_a_killed_process_goes_on_to_bit_equal_losses(tmp_path):
    def start(pause):
        code = CHILD.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "run"), pause=pause)
        return subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
        )

    killed = start(0.1)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "step-00000010").exists() and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.005)
    killed.kill()
    assert killed.wait() != 0
    killed.stdout.close()
    finished = [int(path.name[5:]) for path in (tmp_path / "run").glob("step-*")]
    assert finished and 0 < max(finished) < 80
    out, _ = start(0).communicate(timeout=300)
    status, losses = json.loads(out.splitlines()[-1])
    assert (
        status == "complete"
        and losses == train(tiny(dropout=0.2), some_rows(), LONG).losses["total"].tolist()
        and len(losses) == 80
    )


@pytest.fixture
def python_s_own_ctrl_c():
    """A test run in the background inherits an ignored SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_after_the_step_under_way(tmp_path, python_s_own_ctrl_c):
    def press(batch):
        if batch.step == 4:
            signal.raise_signal(signal.SIGINT)

    model, reference = tiny(), tiny()
    trained = train(model, some_rows(), RECIPE, after_step=press, folder=tmp_path)
    calls = iter(range(100))
    train(reference, some_rows(), RECIPE, stop=lambda: next(calls) == 5)
    assert trained.status == "stopped" and trained.step == 5 and torch.equal(weights(model), weights(reference))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert train(tiny(), some_rows(), RECIPE, folder=tmp_path).status == "complete"


class Denoiser(torch.nn.Module):
    """No language model: it has no input_ids and gives back no logits."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = torch.nn.Linear(4, 16), torch.nn.Linear(16, 4)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


PICTURES = torch.randn(13, 4, generator=torch.Generator().manual_seed(7))


def shaken(model, batch):
    """The error of the predicted noise, whose draws are torch's own."""
    noise = torch.randn(len(batch.index), 4)
    return (model(PICTURES[batch.index] + noise) - noise).square().mean()


def test_an_objective_stands_where_the_cross_entropy_does():
    told = []

    def same(model, batch):
        where = batch.targets[:, 1:]
        return F.cross_entropy(model(input_ids=batch.ids).logits[:, :-1][where], batch.ids[:, 1:][where])

    def term(model, batch, outputs):
        told.append(outputs)
        return 0.1 * sum(value.square().sum() for value in model.parameters())

    plain, own = tiny(), tiny()
    reference, trained = (
        train(model, some_rows(), RECIPE, objective=objective, terms={"norm": term})
        for model, objective in ((plain, None), (own, same))
    )
    torch.testing.assert_close(weights(plain), weights(own), atol=1e-5, rtol=0)
    np.testing.assert_allclose(trained.losses, reference.losses, atol=1e-4)
    assert all(outputs is not None for outputs in told[:12]) and told[12:] == [None] * 12


def test_an_objective_trains_what_is_no_language_model_as_a_plain_loop_does():
    model, plain = Denoiser(), Denoiser()
    trained = train(model, some_rows(), RECIPE, objective=shaken, parameters=lambda name: name.startswith("second"))
    optimizer = torch.optim.AdamW(plain.second.parameters(), weight_decay=0.01, betas=(0.9, 0.98))
    for step, index in enumerate(order_of(RECIPE, 13)):
        torch.manual_seed(step_seed(RECIPE.seed, step))
        noise = torch.randn(5, 4)
        loss = torch.stack(
            [(plain(PICTURES[i] + n) - n).square().mean() for i, n in zip(index, noise, strict=True)]
        ).mean()
        optimizer.param_groups[0]["lr"] = RECIPE.rate(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.second.parameters(), 1.0)
        optimizer.step()
        assert trained.losses["lm"][step] == pytest.approx(loss.item(), rel=1e-4)
    torch.testing.assert_close(weights(model), weights(plain), atol=1e-5, rtol=0)
    assert trained.status == "complete" and torch.equal(weights(model)[:80], weights(Denoiser())[:80])
    with pytest.raises(TrainingError, match="depends on no trained parameter"):
        train(Denoiser(), some_rows(), RECIPE, objective=shaken, parameters=lambda name: True, base_weight=0.0)


def test_a_cut_run_with_an_objective_goes_on_with_the_same_draws_and_not_with_another_objective(tmp_path):
    whole = Denoiser()
    losses = train(whole, some_rows(), RECIPE, objective=shaken, parameters=lambda name: True).losses
    done = []
    cut = train(
        Denoiser(),
        some_rows(),
        RECIPE,
        objective=shaken,
        parameters=lambda name: True,
        folder=tmp_path,
        after_step=lambda batch: done.append(batch.step),
        stop=lambda: len(done) == 5,
    )
    assert cut.status == "stopped" and cut.step == 5
    with pytest.raises(TrainingError, match="another objective"):
        train(
            Denoiser(),
            some_rows(),
            RECIPE,
            objective=lambda model, batch: shaken(model, batch),
            parameters=lambda name: True,
            folder=tmp_path,
        )
    model = Denoiser()
    torch.manual_seed(99)
    again = train(model, some_rows(), RECIPE, objective=shaken, parameters=lambda name: True, folder=tmp_path)
    assert torch.equal(weights(model), weights(whole)) and again.losses.equals(losses)


def test_layers_that_peft_puts_no_adapter_on_are_refused_by_name():
    """Inside a bridge stand the bridge's own layers; a copy of the bridge has plain ones."""
    bridge = lens.load("organism:archive", device="cpu")
    lora = LoRA(rank=2, targets=("q_proj",))
    with pytest.raises(TrainingError, match="peft puts no adapter on it"):
        lora.put_on(bridge.original_model, 0)
    assert any("lora_A" in name for name, _ in lora.put_on(copy_of(bridge), 0).named_modules())
