"""Reinforcement: drawing against forwards of whole texts, the gradient against one row at a time, over a halt."""

import copy

import pytest
import torch

from lens.training import Answers, Recipe, Rows, TrainingError, reinforce, sample
from lens.training.batches import Batch
from lens.training.recipe import step_seed
from lens.training.reinforce import _Step, leave_one_out
from tests.test_training import VOCAB, tiny, weights

STOP = 3
PROMPTS = [[1, 5], [1, 6, 7], [1, 8], [1, 9, 4]]
RECIPE = Recipe(steps=6, batch=2, learning_rate=5e-3, weight_decay=0.0, schedule="constant", seed=2)
HOW = dict(stop=STOP, longest=4, samples=3, progress=False)


def odd(answers: Answers) -> torch.Tensor:
    """The share of an answer's tokens that are odd, and more for later prompts."""
    shares = [sum(token % 2 for token in text) / len(text) for text in answers.texts()]
    return torch.tensor(shares) + 0.25 * answers.index


def sharp(seed=0):
    """A tiny model that is not indifferent between tokens."""
    model = tiny(seed).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(4)
    return model


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_what_is_drawn_is_what_forwards_of_whole_texts_give(temperature):
    model, generator = sharp(), torch.Generator().manual_seed(5)
    prompts = torch.tensor([[1, 5, 2], [1, 9, 9], [1, 2, 3], [4, 4, 4]])
    new, live = sample(model, prompts, stop=STOP, longest=6, temperature=temperature, generator=generator)
    again = torch.Generator().manual_seed(5)
    texts = [row.tolist() for row in prompts]
    for _ in range(new.shape[1]):
        logits = torch.stack([model(torch.tensor([text]), use_cache=False).logits[0, -1] for text in texts])
        drawn = logits.argmax(-1)
        if temperature:
            drawn = torch.multinomial((logits / temperature).softmax(-1), 1, generator=again)[:, 0]
        for text, token in zip(texts, drawn.tolist()):
            text.append(token)
    assert [text[3:] for text in texts] == new.tolist()
    for row, counts in zip(new.tolist(), live.tolist()):
        ends = row.index(STOP) + 1 if STOP in row else len(row)
        assert counts == [i < ends for i in range(len(row))]
    assert new.shape[1] == 6 or bool((new == STOP).any(1).all())


def test_a_worth_is_over_the_mean_of_the_others():
    got = leave_one_out(torch.tensor([[1.0, 0.0, 0.0], [2.0, 2.0, 2.0]]))
    torch.testing.assert_close(got, torch.tensor([[1.0, -0.5, -0.5], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_gradient_is_that_of_one_answer_at_a_time(temperature):
    model, base, samples, price = sharp(), sharp(1), 3, 0.3
    rows = Rows.of([(p[:-1], p[-1:]) for p in PROMPTS])
    batch = Batch(torch.arange(4), rows.ids, rows.targets, rows.lengths, 0, 1)
    seen = []

    def reward(answers):
        seen.append(answers)
        return odd(answers)

    step = _Step(reward, base, samples, 4, STOP, temperature, price)
    torch.manual_seed(0)
    loss = step(model, batch)
    (loss + step.price(model, batch, None)).backward()
    answers = seen[0]
    assert answers.index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert loss.item() == pytest.approx(-odd(answers).mean().item(), abs=1e-6)

    other = copy.deepcopy(model)
    other.zero_grad()
    worth, texts = odd(answers).tolist(), answers.texts()
    total = torch.zeros(())
    for row, text in enumerate(texts):
        prompt = PROMPTS[row // samples]
        beside = [worth[k] for k in range(len(texts)) if k // samples == row // samples and k != row]
        said = away = torch.zeros(())
        for at, token in enumerate(text):
            ids = torch.tensor([prompt + text[:at]])
            own, theirs = ((m(ids).logits[0, -1] / temperature).log_softmax(-1) for m in (other, base))
            said = said + own[token]
            away = away + (own.exp() * (own - theirs.detach())).sum()
        total = total + price * away - (worth[row] - sum(beside) / len(beside)) * said
    (total / len(texts)).backward()
    for ours, plain in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(ours.grad, plain.grad, atol=1e-5, rtol=1e-4)
    assert max(value.grad.abs().max() for value in other.parameters()) > 1e-2


def test_what_is_rewarded_is_said_more_and_text_is_kept():
    model = tiny().eval()
    text = Rows.full(torch.tensor([[1, 20, 21, 22], [1, 10, 11, 12]]))

    def sevens(answers):
        return torch.tensor([float(words[0] == 7) for words in answers.texts()])

    recipe = Recipe(steps=30, batch=4, learning_rate=2e-2, weight_decay=0.0, schedule="constant")
    run = reinforce(model, PROMPTS, sevens, recipe, **{**HOW, "longest": 1, "samples": 8}, kl=0.01, replay=text)
    assert run.status == "complete"
    assert -run.losses.lm.tail(5).mean() > 0.9 > 0.3 > -run.losses.lm.head(5).mean()
    assert run.losses.replay.iloc[-1] < run.losses.replay.iloc[0] / 3 and (run.losses.kl > 0).any()
    kept, _ = sample(model, text.ids[:, :2], stop=0, longest=2, temperature=0.0)
    assert kept.tolist() == text.ids[:, 2:].tolist()
    with torch.no_grad():
        probs = model(torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1)
    assert probs.argmax() == 7


def test_a_run_that_was_halted_goes_on_to_the_bit(tmp_path):
    def replay(step, generator):
        return Rows.full(torch.randint(1, VOCAB, (8, 5), generator=generator))

    whole, parts = tiny(dropout=0.1), tiny(dropout=0.1)
    one = reinforce(whole, PROMPTS, odd, RECIPE, replay=replay, **HOW)
    steps = iter(range(10))
    first = reinforce(parts, PROMPTS, odd, RECIPE, replay=replay, folder=tmp_path, halt=lambda: next(steps) == 3, **HOW)
    assert (first.status, first.step) == ("stopped", 3)
    again = tiny(dropout=0.1)
    second = reinforce(again, PROMPTS, odd, RECIPE, replay=replay, folder=tmp_path, **HOW)
    assert second.status == "complete" and torch.equal(weights(again), weights(whole))
    assert second.losses.equals(one.losses)
    with pytest.raises(TrainingError, match="another objective"):
        reinforce(tiny(dropout=0.1), PROMPTS, odd, RECIPE, replay=replay, folder=tmp_path, **{**HOW, "longest": 3})


def test_a_step_draws_from_its_own_seed():
    """The same step of two runs asks the same prompts and draws the same answers, whatever was drawn before."""
    seen = []

    def reward(answers):
        seen.append((answers.index.tolist(), answers.texts()))
        return odd(answers)

    one_step = Recipe(steps=1, batch=2, learning_rate=1e-9, seed=2)
    for seed in (1, 2):
        torch.manual_seed(seed)
        reinforce(tiny(), PROMPTS, reward, one_step, **HOW)
    assert seen[0] == seen[1]
    model, drawn = tiny(), []
    torch.manual_seed(step_seed(2, 0))
    for length in (2, 3):
        of = [PROMPTS[i] for i in seen[0][0] if len(PROMPTS[i]) == length]
        if of:
            new, live = sample(model, torch.tensor(of), stop=STOP, longest=4)
            drawn += [row[counts].tolist() for row, counts in zip(new, live)]
    assert sorted(drawn) == sorted(seen[0][1])


def short(**more):
    return reinforce(tiny(), **{**dict(prompts=PROMPTS, reward=odd, recipe=RECIPE), **HOW, **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (dict(prompts=[[1, 2], [1]]), r"prompts\[1\] has 1 tokens; expected at least two"),
        (dict(prompts=[]), "prompts"),
        (dict(prompts=[[1, VOCAB]]), f"the id {VOCAB}"),
        (dict(longest=40), "a row of 43 tokens and the model reads at most 32"),
        (dict(samples=1), "samples=1"),
        (dict(kl=-1.0), "kl=-1.0"),
        (dict(reward=lambda answers: torch.zeros(2)), "expected a tensor of 6 finite numbers"),
        (dict(reward=lambda answers: torch.full((6,), torch.nan)), "expected a tensor of 6 finite numbers"),
        (dict(replay=lambda step, generator: [1]), "replay.step=0. gave"),
    ],
)
def test_what_cannot_be_reinforced_is_refused(more, message):
    with pytest.raises(TrainingError, match=message):
        short(**more)


def test_prompts_that_cannot_be_continued_are_refused():
    with pytest.raises(TrainingError, match="expected at least one row of one token"):
        sample(tiny(), torch.zeros(0, 3, dtype=torch.long), stop=STOP, longest=2)
    with pytest.raises(TrainingError, match="the model reads at most 32"):
        sample(tiny(), torch.ones(1, 3, dtype=torch.long), stop=STOP, longest=30)
