"""Each loss against its formula, written out in NumPy, and its gradient against the derivative on paper: float64."""

import numpy as np
import pytest
import torch
from scipy import special

from lens.training.divergence import divergence
from lens.unlearning import UnlearningError, terms

ROW = torch.tensor([0, 0, 0, 2, 2, 5])  # row 1 of a batch may have no token here
ROWS = [[0, 1, 2], [3, 4], [5]]


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logp(seed):
    return -drawn(seed, 6).abs() - 0.1


def with_gradient(loss, x):
    """The loss of a leaf, and its gradient."""
    x = x.clone().requires_grad_(True)
    value = loss(x)
    assert value.dtype == torch.float64 and value.ndim == 0
    value.backward()
    return float(value), x.grad.numpy()


def test_ascent_is_the_mean_log_probability():
    x = logp(0)
    value, gradient = with_gradient(terms.gradient_ascent, x)
    assert value == pytest.approx(x.numpy().mean(), abs=1e-12) and np.allclose(gradient, 1 / 6)


def test_the_difference_takes_the_retained_rows_loss_with_its_weight():
    x, kept = logp(0), logp(1)[:4]
    value, gradient = with_gradient(lambda y: terms.gradient_difference(y, kept, 0.5), x)
    assert value == pytest.approx(x.numpy().mean() - 0.5 * kept.numpy().mean(), abs=1e-12)
    value, gradient = with_gradient(lambda y: terms.gradient_difference(x, y, 0.5), kept)
    assert np.allclose(gradient, -0.5 / 4)


@pytest.mark.parametrize("over", ["sequence", "token", "batch"])
@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_npo_is_its_formula_over_its_unit(over, beta):
    """(2 / beta) mean log(1 + (p / p_ref)^beta); by its derivative each unit weighs 2 sigma(beta log ratio) / units."""
    x, frozen = logp(0), logp(1)
    gap = (x - frozen).numpy()
    groups = {"sequence": ROWS, "token": [[i] for i in range(6)]}
    ratio = np.array([gap[g].sum() for g in groups[over]]) if over in groups else np.array([gap.mean()])
    value, gradient = with_gradient(lambda y: terms.negative_preference(y, frozen, ROW, beta=beta, over=over), x)
    assert value == pytest.approx((2 / beta * np.log1p(np.exp(ratio) ** beta)).mean(), rel=1e-12)
    weight = 2 * special.expit(beta * ratio) / len(ratio)
    on_paper = np.full(6, weight[0] / 6) if over == "batch" else np.empty(6)
    for g, w in zip(groups.get(over, []), weight):
        on_paper[g] = w
    assert np.allclose(gradient, on_paper, rtol=1e-12)


def test_npo_over_the_batch_is_ascent_where_the_model_is_the_reference():
    x = logp(0)
    _, gradient = with_gradient(lambda y: terms.negative_preference(y, x, ROW, over="batch"), x)
    _, ascent = with_gradient(terms.gradient_ascent, x)
    assert np.allclose(gradient, ascent)


def test_simnpo_is_its_formula():
    x, beta, gamma = logp(0), 2.5, 0.3
    mean = np.array([x.numpy()[g].mean() for g in ROWS])
    value, gradient = with_gradient(lambda y: terms.simple_negative_preference(y, ROW, beta=beta, gamma=gamma), x)
    assert value == pytest.approx((-2 / beta * np.log(special.expit(-beta * mean - gamma))).mean(), rel=1e-12)
    for g, m in zip(ROWS, mean):
        assert np.allclose(gradient[g], 2 * special.expit(beta * m + gamma) / len(ROWS) / len(g))


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_kl_as_stated_is_minus_the_divergence(direction):
    logits, frozen = drawn(0, 4, 7), drawn(1, 4, 7).log_softmax(-1)
    ours, theirs = logits.log_softmax(-1).numpy(), frozen.numpy()
    first, second = (ours, theirs) if direction == "reverse" else (theirs, ours)
    value, _ = with_gradient(lambda y: terms.divergence_as_stated(y, frozen, direction), logits)
    assert value == pytest.approx(-special.kl_div(np.exp(first), np.exp(second)).sum(-1).mean(), rel=1e-10)


def test_kl_as_published_rewards_entropy_too():
    """It is -(KL(model || reference) + entropy of the model), and never below log 1e-12."""
    logits, frozen = drawn(0, 4, 7), drawn(1, 4, 7).log_softmax(-1)
    p, q = np.exp(logits.log_softmax(-1).numpy()), np.exp(frozen.numpy())
    value, gradient = with_gradient(lambda y: terms.divergence_as_published(y, frozen), logits)
    assert value == pytest.approx(-(special.kl_div(p, q).sum(-1) + special.entr(p).sum(-1)).mean(), rel=1e-9)
    f = np.log(q + terms.TINY)
    assert np.allclose(gradient, p * (f - (p * f).sum(-1, keepdims=True)) / 4, rtol=1e-9)
    impossible = torch.full((1, 7), -60.0, dtype=torch.float64)
    impossible[0, 0] = 0.0
    certain = torch.zeros(1, 7, dtype=torch.float64)
    certain[0, 3] = 60.0
    assert float(terms.divergence_as_published(certain, impossible)) == pytest.approx(np.log(1e-12), rel=1e-9)


def test_rmu_is_a_mean_square_by_row():
    states, u, frozen = drawn(0, 6, 5), drawn(1, 5), drawn(2, 6, 5)
    for loss, target in (
        (lambda y: terms.steer_away(y, u, ROW, coefficient=3.0), 3.0 * u.expand(6, 5)),
        (lambda y: terms.stay_near(y, frozen, ROW), frozen),
    ):
        apart = (states - target).numpy()
        value, gradient = with_gradient(loss, states)
        assert value == pytest.approx(np.mean([(apart[g] ** 2).mean() for g in ROWS]), rel=1e-12)
        for g in ROWS:
            assert np.allclose(gradient[g], 2 * apart[g] / 5 / len(g) / len(ROWS))


def test_a_uniform_label_is_the_cross_entropy_with_every_answer():
    logits, choices = drawn(0, 4, 7), torch.tensor([1, 4, 6])
    value, gradient = with_gradient(lambda y: terms.uniform_label(y.log_softmax(-1), choices), logits)
    assert value == pytest.approx(-logits.log_softmax(-1).numpy()[:, [1, 4, 6]].mean(), rel=1e-12)
    label = np.zeros(7)
    label[[1, 4, 6]] = 1 / 3
    assert np.allclose(gradient, (logits.softmax(-1).numpy() - label) / 4)


def test_a_task_vector_is_subtracted():
    w, tuned = {"a": drawn(0, 3)}, {"a": drawn(1, 3)}
    assert torch.allclose(terms.task_vector(w, tuned, 2.0)["a"], 3 * w["a"] - 2 * tuned["a"])
    assert torch.equal(terms.task_vector(w, tuned, 0.0)["a"], w["a"])


def test_what_no_loss_can_be_had_of_is_refused():
    x = logp(0)
    for call, said in (
        (lambda: terms.negative_preference(x, x, ROW, beta=0.0), "beta=0.0; expected a number above 0"),
        (lambda: terms.simple_negative_preference(x, ROW, beta=-1.0), "beta=-1.0; expected a number above 0"),
        (lambda: terms.negative_preference(x, x, ROW, over="word"), "over='word' is not known"),
        (lambda: terms.uniform_label(drawn(0, 2, 7), torch.tensor([3, 3])), "answers are all one token"),
        (lambda: terms.task_vector({"a": x}, {"b": x}, 1.0), "the weight 'a' is not that of weights"),
    ):
        with pytest.raises(UnlearningError, match=said):
            call()


def test_half_precision_is_computed_in_single():
    logits = drawn(0, 4, 7).bfloat16()
    assert divergence(logits, logits.float().log_softmax(-1)).dtype == torch.float32
