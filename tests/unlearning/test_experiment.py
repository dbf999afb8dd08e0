"""Whole experiments on tiny models, against loops and forwards written out here; what is refused."""

import copy
import dataclasses
import functools

import numpy as np
import pytest
import torch

import lens
from lens.results import dataset as results
from lens.training import LoRA, Recipe, Rows, order_of
from lens.unlearning import METHODS, Arm, UnlearningError, method, unlearn
from tests.models import speaking, tiny

from ..variants import few
from .helpers import items, plain_logp, questions

RECIPE = Recipe(steps=3, batch=2, learning_rate=1e-3, weight_decay=0.0, schedule="constant", seed=3)
QUIET = dict(recipe=RECIPE, progress=False)


@functools.cache
def start():
    return tiny()


@functools.cache
def frozen():
    """The reference: another model, since at the reference itself a divergence has no gradient but rounding."""
    return tiny(seed=6)


@functools.cache
def sets():
    units = [f"person {i // 2}" for i in range(6)]
    return items(6, 1, units=units), items(5, 2)


def of_arm(result, arm, name):
    return result[name].sel(arm=arm).values


def by_hand(loss, steps=3, model=None):
    """Steps of AdamW on a copy, rows by the recipe's own order: loss(model, forget rows, retain rows)."""
    trained = copy.deepcopy(start() if model is None else model).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3, weight_decay=0.0, betas=RECIPE.betas)
    forget, retain = sets()
    orders = order_of(RECIPE, 6), order_of(dataclasses.replace(RECIPE, seed=RECIPE.seed + 1), 5)
    for step in range(steps):
        optimizer.zero_grad()
        loss(trained, *([of.pairs()[i] for i in order[step]] for of, order in zip((forget, retain), orders))).backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), RECIPE.clip)
        optimizer.step()
    return trained.eval()


def answer_logp(model, pairs):
    """Each answer's token log-probabilities, one forward a row, with gradients."""
    out = []
    for prompt, answer in pairs:
        logp = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
        out.append(torch.stack([logp[len(prompt) - 1 + t, token] for t, token in enumerate(answer)]))
    return out


def frozen_logp(pairs):
    return [torch.from_numpy(plain_logp(frozen(), *pair)) for pair in pairs]


def retain_loss(model, retain):
    return -torch.cat(answer_logp(model, retain)).mean()


def npo(model, forget, retain):
    gap = torch.stack([(a - b).sum() for a, b in zip(answer_logp(model, forget), frozen_logp(forget))])
    return (2 / 0.1 * torch.log1p(gap.exp() ** 0.1)).mean() + retain_loss(model, retain)


def divergence(model, forget, retain):
    kl = []
    for prompt, answer in forget:
        ids, at = torch.tensor([[*prompt, *answer]]), slice(len(prompt) - 1, len(prompt) + len(answer) - 1)
        p = model(input_ids=ids).logits[0, at].log_softmax(-1)
        with torch.no_grad():
            q = frozen()(input_ids=ids).logits[0, at].log_softmax(-1)
        kl.append((p.exp() * (p - q)).sum(-1))
    return -torch.cat(kl).mean() + retain_loss(model, retain)


def rmu(model, forget, retain):
    """Layer -2 of three is layer 1, whose output is hidden state 2."""
    u = torch.rand(32, generator=torch.Generator().manual_seed(0))

    def states(of, pair):
        return of(input_ids=torch.tensor([[*pair[0], *pair[1]]]), output_hidden_states=True).hidden_states[2][0]

    away = [(states(model, pair) - 20 * u / u.norm()).square().mean(-1).mean() for pair in forget]
    with torch.no_grad():
        kept = [states(frozen(), pair) for pair in retain]
    near = [(states(model, pair) - k).square().mean(-1).mean() for pair, k in zip(retain, kept)]
    return torch.stack(away).mean() + torch.stack(near).mean()


LOSSES = {
    "retain_only": None,
    "gradient_ascent": lambda model, forget, retain: torch.cat(answer_logp(model, forget)).mean(),
    "gradient_difference": lambda model, forget, retain: (
        torch.cat(answer_logp(model, forget)).mean() + retain_loss(model, retain)
    ),
    "npo": npo,
    "kl": divergence,
    "rmu": rmu,
    "task_vector": None,
}


@functools.cache
def run():
    return unlearn(start(), *sets(), list(LOSSES), looks=[0, 2], reference=frozen(), **QUIET)


@pytest.mark.parametrize("arm", [name for name, loss in LOSSES.items() if loss is not None])
def test_an_arm_is_the_loop_written_out(arm):
    trained = by_hand(LOSSES[arm])
    for name, of in zip(("forget", "retain"), sets()):
        want = [plain_logp(trained, *pair).mean() for pair in of.pairs()]
        found = of_arm(run(), arm, f"{name}_logprob")
        assert np.allclose(found[2], want, atol=2e-4), arm  # three steps of Adam on gradients of float32
        assert np.allclose(found[0], [plain_logp(start(), *pair).mean() for pair in of.pairs()], atol=1e-5)
        assert not np.allclose(found[2], found[0], atol=1e-3)


def test_the_control_trains_on_the_retain_set_alone_and_is_always_there():
    steps = iter(order_of(RECIPE, 5))
    trained = by_hand(lambda model, forget, retain: retain_loss(model, [sets()[1].pairs()[i] for i in next(steps)]))
    want = [plain_logp(trained, *pair).mean() for pair in sets()[1].pairs()]
    assert np.allclose(of_arm(run(), "retain_only", "retain_logprob")[2], want, atol=2e-4)
    alone = unlearn(
        start(), *sets(), ["gradient_ascent"], looks=[], recipe=dataclasses.replace(RECIPE, steps=1), progress=False
    )
    assert alone.arm.values.tolist() == ["start", "retain_only", "gradient_ascent"]


def test_looks_are_by_dose_and_the_record_says_what_was_done():
    result = run()
    assert result.arm.values.tolist() == ["start", *LOSSES]
    assert of_arm(result, "npo", "dose")[:4].tolist()[:3] == [0, 2, 3]
    assert of_arm(result, "task_vector", "dose").tolist() == list(METHODS["task_vector"].doses)
    assert np.isnan(of_arm(result, "start", "dose")[1:]).all() and set(result.status.values) == {"complete"}
    record = results.provenance(result)
    assert record["call"]["arms"]["npo"]["options"]["over"] == "sequence" and record["status"] == "complete"
    assert record["call"]["never_knew_control"].startswith("foils")
    assert result.entity_forget.values.tolist() == sets()[0].unit_labels()


def test_a_task_vector_lies_on_a_line_through_the_start():
    steps = iter(order_of(RECIPE, 6))
    tuned = by_hand(
        lambda model, forget, retain: -torch.cat(answer_logp(model, [sets()[0].pairs()[i] for i in next(steps)])).mean()
    )
    moved = copy.deepcopy(start())
    with torch.no_grad():
        for p, q in zip(moved.parameters(), tuned.parameters()):
            p.sub_(2.0 * (q - p))
    want = [plain_logp(moved, *pair).mean() for pair in sets()[0].pairs()]
    assert np.allclose(of_arm(run(), "task_vector", "forget_logprob")[4], want, atol=5e-4)


def test_no_given_model_is_changed():
    model = tiny(seed=4)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    unlearn(model, *sets(), [Arm.of("npo", lora=LoRA(rank=2))], twin=tiny(seed=5), **QUIET)
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", few(METHODS, lambda name: name in ("npo", "rmu", "task_vector", "random_labels")))
def test_every_method_trains_adapters_too(name):
    arm = Arm.of(name, "low rank", lora=LoRA(rank=2))
    found = unlearn(start(), *sets(), [arm], looks=[], **QUIET)
    values = of_arm(found, "low rank", "forget_logprob")
    last = values[~np.isnan(values).any(1)]
    assert found.status.sel(arm="low rank") == "complete" and np.abs(last[-1] - last[0]).max() > 1e-4
    assert np.allclose(last[0], of_arm(found, "start", "forget_logprob")[0], atol=1e-5)


def test_edits_are_arms():
    """A dose is an edit of the start model; a mask of weights and an edit of activations come in alike."""
    model = speaking()
    silent = {float(l): lens.Edit(lens.Site("attn_out", layer=l), "zero") for l in (0, 2)}
    found = unlearn(model, *sets(), [Arm.of_edits("silent", silent)], looks=[], **QUIET)
    for k, layer in enumerate((0, 2)):
        hook = model.model.layers[layer].self_attn.register_forward_hook(
            lambda _, args, out: (torch.zeros_like(out[0]), *out[1:])
        )
        want = [plain_logp(model, *pair).mean() for pair in sets()[0].pairs()]
        hook.remove()
        assert np.allclose(of_arm(found, "silent", "forget_logprob")[k], want, atol=1e-5)


def test_the_last_model_of_an_arm_can_be_read_at_once():
    """Behind adapters too, whose wrapper leaves layers as in training; `is_it_gone` reads none that is."""
    seen = {}
    unlearn(start(), *sets(), [Arm.of("npo", lora=LoRA(rank=2))], on_model=seen.__setitem__, **QUIET)
    assert set(seen) == {"retain_only", "npo"} and not any(m.training for of in seen.values() for m in of.modules())


def test_attacks_are_looked_at_as_arms_of_a_copy():
    """Rounding by NumPy; relearning is the training written out; the models go through the same."""
    seen, twin = {}, tiny(seed=8)
    short = dataclasses.replace(RECIPE, steps=2)
    attacks = {"int4": lens.unlearning.quantise(4), "relearn": lens.unlearning.relearn(sets()[1], short)}
    found = unlearn(
        start(), *sets(), [Arm.of("task_vector")], attacks=attacks, twin=twin, on_model=seen.__setitem__, **QUIET
    )
    names = ["start", "twin", "retain_only", "task_vector"]
    assert set(found.arm.values) == {*names, *(f"{n} after {a}" for n in names for a in attacks)}
    assert set(seen) == set(names[2:]) and found.is_model.sel(arm="twin after int4")
    assert of_arm(found, "task_vector after int4", "dose")[0] == METHODS["task_vector"].doses[-1]
    for name, model in (("start", start()), ("task_vector", seen["task_vector"])):
        coarse = copy.deepcopy(model)
        for value in coarse.parameters():
            w = value.numpy()
            if w.ndim == 2:
                scale = np.abs(w).max(1, keepdims=True) / 7
                value.copy_(torch.from_numpy(np.round(w / scale) * scale))
        want = [plain_logp(coarse, *pair).mean() for pair in sets()[0].pairs()]
        assert np.allclose(of_arm(found, f"{name} after int4", "forget_logprob")[0], want, atol=1e-4)
    steps = iter(order_of(short, 5))
    again = by_hand(lambda model, *_: retain_loss(model, [sets()[1].pairs()[i] for i in next(steps)]), 2, model=twin)
    want = [plain_logp(again, *pair).mean() for pair in sets()[0].pairs()]
    learnt = lens.unlearning.relearn(sets()[1], dataclasses.replace(short, learning_rate=1e-3))(copy.deepcopy(twin))
    assert np.allclose([plain_logp(learnt, *pair).mean() for pair in sets()[0].pairs()], want, atol=2e-4)
    assert np.allclose(of_arm(found, "twin after relearn", "forget_logprob")[0], want, atol=2e-4)


@pytest.mark.filterwarnings("ignore:training diverged")
def test_an_arm_that_diverges_ends_at_the_last_finite_weights():
    arm = Arm.of("gradient_ascent", recipe=dataclasses.replace(RECIPE, learning_rate=1e38, clip=0.0))
    found = unlearn(start(), *sets(), [arm], looks=[0, 1, 2], **QUIET)
    assert found.status.sel(arm="gradient_ascent") == "diverged" and found.status.sel(arm="retain_only") == "complete"
    values = of_arm(found, "gradient_ascent", "forget_logprob")
    assert np.isfinite(values[0]).all() and np.allclose(
        values[0], of_arm(found, "start", "forget_logprob")[0], atol=1e-5
    )
    assert np.isnan(values[1:]).all() and of_arm(found, "gradient_ascent", "dose")[0] == 0


def test_a_stopped_experiment_has_what_there_is():
    asked = iter([False] * 3)
    found = unlearn(start(), *sets(), ["gradient_ascent"], stop=lambda: next(asked, True), **QUIET)
    assert results.provenance(found)["status"] == "partial"
    assert found.status.sel(arm="gradient_ascent") == "not run"
    assert np.isnan(of_arm(found, "gradient_ascent", "dose")).all()


def test_arms_that_ended_are_kept_and_the_rest_goes_on(tmp_path, monkeypatch):
    from lens.unlearning import experiment

    call = functools.partial(
        unlearn, start(), *sets(), ["gradient_ascent"], looks=[1], folder=tmp_path / "kept", **QUIET
    )
    whole = unlearn(start(), *sets(), ["gradient_ascent"], looks=[1], **QUIET)
    asked = iter([False] * 4)  # before the first arm and each of its steps
    assert results.provenance(call(stop=lambda: next(asked, True)))["status"] == "partial"
    walked, path_of = [], experiment.path_of
    monkeypatch.setattr(experiment, "path_of", lambda arm, *rest: (walked.append(arm.name), path_of(arm, *rest))[1])
    again = call()
    assert walked == ["gradient_ascent"]
    for name in whole.data_vars:
        if name != "seconds":
            assert again[name].equals(whole[name]), name
    call()
    assert walked == ["gradient_ascent"]
    with pytest.raises(UnlearningError, match="holds another experiment"):
        call(most=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("")
    with pytest.raises(UnlearningError, match="is not empty and holds no experiment"):
        call(folder=tmp_path / "other")


def test_redrawn_labels_differ_by_step_and_fixed_ones_do_not():
    from lens.unlearning.labels import random_labels

    pairs = sets()[0].pairs()
    rows = random_labels(pairs, "redrawn", 0, batch=6).rows
    drawn = [rows(step, torch.Generator().manual_seed(step)) for step in range(2)]
    assert all(isinstance(r, Rows) and len(r) == 6 for r in drawn) and drawn[0].sha256() != drawn[1].sha256()
    wrong, every = random_labels(pairs, "wrong", 0).rows, {a for _, a in pairs}
    for i, (_, answer) in enumerate(pairs):
        given = tuple(wrong.ids[i][wrong.targets[i]].tolist())
        assert given != answer and given in every
    assert random_labels(pairs, "fixed", 1).rows.sha256() == random_labels(pairs, "fixed", 1).rows.sha256()
    right = random_labels(pairs, "right").rows
    assert right.sha256() == sets()[0].rows().sha256()


def other_vocabulary():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**{**tiny().config.to_diff_dict(), "vocab_size": 90})).eval()


def renamed():
    model = speaking()
    model.tokenizer = copy.deepcopy(model.tokenizer)
    model.tokenizer.add_tokens(["new"])
    return model


def test_what_cannot_be_unlearned_with_is_refused():
    model, (forget, retain) = start(), sets()
    good = dict(**QUIET)
    for said, call in {
        r"forget and retain share 2 pairs of rows: row 0 and row 5 \(exact, 1.00\)": lambda: unlearn(
            model, forget, items_of([*retain.pairs(), *forget.pairs()[:2]]), **good
        ),
        "reference has a vocabulary of 90 tokens and the model one of 97": lambda: unlearn(
            model, forget, retain, reference=other_vocabulary(), **good
        ),
        "twin has another vocabulary: 'new' is token none of the model and token 97 of twin": lambda: unlearn(
            speaking(), forget, retain, twin=renamed(), **good
        ),
        "never_knew=None with questions": lambda: unlearn(model, forget, retain, questions=questions(2), **good),
        "forget holds the id 120 and the model has 97 tokens": lambda: unlearn(
            model, items_of([((1, 120), (3,))]), retain, **good
        ),
        "the name 'npo' is given twice": lambda: unlearn(model, forget, retain, ["npo", "npo"], **good),
        "name='twin' is that of a model": lambda: Arm.of("npo", "twin"),
        "method='magic' is not known": lambda: Arm.of("magic"),
        "method 'npo' has no option 'alpha'": lambda: Arm.of("npo", alpha=1.0),
        "beta=0.0; expected a number above 0": lambda: method("npo", beta=0.0),
        "retain=-1.0; expected a weight": lambda: method("npo", retain=-1.0),
        "needs a method or edits": lambda: Arm("nothing"),
        "layer=7: this model has layers 0 to 2": lambda: unlearn(
            model, forget, retain, [Arm.of("rmu", layer=7)], **good
        ),
        "over='word' is not known": lambda: unlearn(model, forget, retain, [Arm.of("npo", over="word")], **good),
        "labels='odd' is not known": lambda: unlearn(
            model, forget, retain, [Arm.of("random_labels", labels="odd")], **good
        ),
        "retain_loss='l2' is not known": lambda: unlearn(
            model, forget, retain, [Arm.of("npo", retain_loss="l2")], **good
        ),
        "all 2 items have one answer": lambda: unlearn(
            model, items_of([((1, 2), (3,)), ((4, 5), (3,))]), retain, ["random_labels"], **good
        ),
        "2 answers begin with token 3": lambda: unlearn(
            model,
            items_of([((1, 2), (3, 4)), ((4, 5), (3, 6))]),
            retain,
            [Arm.of("random_labels", labels="uniform")],
            **good,
        ),
    }.items():
        with pytest.raises(UnlearningError, match=said):
            call()


def items_of(pairs):
    return lens.unlearning.Items(*zip(*pairs))
