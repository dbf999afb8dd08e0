"""Teachers and loss terms against plain forwards of single rows and formulas written out here."""

import contextlib
import copy
import functools

import numpy as np
import pytest
import torch

from lens.forgetting import ForgettingError, Guide, Setup, Stage, fisher, method
from lens.forgetting.guide import inserted
from lens.forgetting.penalties import squared_change
from lens.training import Batch, LoRA, Recipe, Rows, Teacher, TrainingError
from lens.training.divergence import divergence

from ..models import tiny
from .helpers import HEADS, guide, heads_of, logits_of, old_rows, prompts


def moved(model, size=0.05):
    """A student: the model with noise on its weights."""
    student = copy.deepcopy(model)
    torch.manual_seed(9)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(torch.randn_like(p) * size)
    return student


def losses(name, model, student, texts, index, g=None, step=0, pad=None, **options):
    """A method's extra losses of one batch, as the loop would compute them."""
    rows = Rows.of(texts, pad=0 if pad is None else pad)
    plan = (chosen := method(name, **options)).prepare(
        Setup(
            model,
            lambda: model,
            0,
            Stage("s", rows),
            (),
            g,
            old_rows(),
            tuple(n for n, _ in model.named_parameters()),
            0,
        ),
        chosen.options,
    )
    part = rows.take(torch.tensor(index))
    batch = Batch(torch.tensor(index), part.ids, part.targets, part.lengths, step, 10)
    with plan.around(student)(batch) if plan.around else contextlib.nullcontext():
        outputs = student(input_ids=batch.ids, use_cache=False)
    return {k: float(term(student, batch, outputs)) for k, term in plan.terms.items()}


def kl(p_logits, q_logits, temperature=1.0):
    """KL(p || q) in nats by NumPy, double precision."""
    p, q = (np.asarray(x, dtype=np.float64) / temperature for x in (p_logits, q_logits))
    p, q = (
        x - x.max(-1, keepdims=True) - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))
        for x in (p, q)
    )
    return (np.exp(p) * (p - q)).sum(-1)


@pytest.mark.parametrize("at", ["resid_post", "attn_out"])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_teacher_keeps_what_direct_forwards_give(at, layer):
    model, texts, g = tiny(), prompts(9), guide(layer=layer, at=at)
    around = functools.partial(inserted, model, g)
    teacher = Teacher.of(model, Rows.of(texts), around=around, heads=HEADS, only=torch.tensor([1, 4, 5, 8]))
    everywhere = Teacher.of(model, Rows.of(texts), around=around, everywhere=True)
    for i in (8, 1, 5):
        ids, last = [*texts[i][0], *texts[i][1]], len(texts[i][0]) - 1
        direct = logits_of(
            model, ids, layer, g.direction, last, "block" if at == "resid_post" else "attention"
        ).log_softmax(-1)
        index = torch.tensor([i])
        assert torch.allclose(teacher.last_log_probs(index)[0], direct[last], atol=1e-5)
        assert torch.equal(teacher.last_log_probs(index), teacher.log_probs(index))
        assert torch.allclose(everywhere.log_probs(index), direct, atol=1e-5)
        assert torch.allclose(everywhere.last_log_probs(index, 2.0)[0], (direct[last] / 2).log_softmax(-1), atol=1e-5)
        assert torch.allclose(
            teacher.heads(index)[0], heads_of(model, ids, last, HEADS), atol=1e-6
        )  # of the model without the vector
    with pytest.raises(TrainingError, match="index=0: the teacher did not read this row"):
        teacher.log_probs(torch.tensor([0]))
    assert teacher.nbytes == 4 * (32 + 3 * 8) * 4


def test_a_model_with_more_after_its_output_layer_keeps_whole_log_probabilities():
    model = tiny()
    plain, model.forward = model.forward, None

    def forward(*args, **kwargs):
        out = plain(*args, **kwargs)
        out.logits = 3 * torch.tanh(out.logits / 3)
        return out

    model.forward = forward
    texts = prompts(3)
    teacher = Teacher.of(model, Rows.of(texts))
    assert teacher.nbytes == 3 * 97 * 4
    assert torch.allclose(
        teacher.log_probs(torch.tensor([2]))[0], logits_of(model, texts[2][0])[-1].log_softmax(-1), atol=1e-5
    )


def test_a_teacher_says_what_it_was_not_asked_to_keep():
    rows, index = Rows.of(prompts(3)), torch.tensor([0])
    heads_alone = Teacher.of(tiny(), rows, heads=HEADS, logits=False)
    assert heads_alone.heads(index).shape == (1, len(HEADS), 8)
    for read in (heads_alone.log_probs, heads_alone.last_log_probs):
        with pytest.raises(TrainingError, match="kept no next-token distribution; make it with logits=True"):
            read(index)
    with pytest.raises(TrainingError, match="kept the outputs of no head; make it with heads"):
        Teacher.of(tiny(), rows).heads(index)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("guided_released", "guides lacks 's'"),
        ("progressive", "guides lacks 's'"),
        ("kl_random", "guides lacks 's'"),
        ("ewc", "old_rows is None"),
        ("replay", "old_rows is None"),
    ],
)
def test_a_method_prepared_without_what_it_needs_names_it(name, text):
    model, chosen = tiny(), method(name)
    names = tuple(n for n, _ in model.named_parameters())
    setup = Setup(model, lambda: model, 0, Stage("s", Rows.of(prompts(3))), (), None, None, names, 0)
    with pytest.raises(ForgettingError, match=text):
        chosen.prepare(setup, chosen.options)


def test_a_teacher_that_takes_too_much_memory_is_refused():
    with pytest.raises(TrainingError, match="memory_mb=0.001: the teacher's outputs of 40 rows"):
        Teacher.of(tiny(), Rows.of(prompts(40)), memory_mb=0.001)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("distance", ["l2", "squared", "mse"])
def test_the_papers_terms_are_its_formulas(direction, distance):
    model, texts, g, index = tiny(), prompts(8), guide(strength=1.5), [6, 0, 3]
    student = moved(model)
    found = losses("guided", model, student, texts, index, g, direction=direction, distance=distance)
    kls, apart = [], []
    for i in index:
        last = len(texts[i][0]) - 1
        theirs = logits_of(model, texts[i][0], g.layer, 1.5 * g.direction, last)[last]
        ours = logits_of(student, texts[i][0])[last]
        kls.append(kl(ours, theirs) if direction == "reverse" else kl(theirs, ours))
        d = (heads_of(student, texts[i][0], last, HEADS) - heads_of(model, texts[i][0], last, HEADS)).double()
        apart.append(
            {"l2": d.square().sum(-1).sqrt(), "squared": d.square().sum(-1), "mse": d.square().mean(-1)}[distance].sum()
        )
    assert found["kl"] == pytest.approx(0.08 * np.mean(kls), rel=1e-4)
    assert found["heads"] == pytest.approx(float(torch.stack(apart).mean()), rel=1e-4)
    assert min(found.values()) > 1e-3


def test_the_released_terms_are_gated_and_smoothed():
    model, texts, g, index = tiny(), prompts(8), guide(), [6, 0, 3]
    student = moved(model)
    last_kl, all_kl, apart = [], 0.0, []
    for i in index:
        ids, last = [*texts[i][0], *texts[i][1]], len(texts[i][0]) - 1
        theirs, ours = logits_of(model, ids, g.layer, g.direction, last, "attention"), logits_of(student, ids)
        each = kl(ours, theirs, 2.0)
        last_kl.append(each[last])
        all_kl += each.sum() / len(index)
        apart.append((heads_of(student, ids, last, HEADS) - heads_of(model, ids, last, HEADS)).square().mean(-1))
    per_head = torch.stack(apart).mean(0)
    gate = float(per_head.sort().values[1]) * 1.01  # closes two heads of three
    found = losses("guided_released", model, student, texts, index, g, gate_heads=gate, gate_kl=np.mean(last_kl) * 1.01)
    assert found["kl_last"] == 0 and found["kl_all"] == pytest.approx(0.1 * all_kl, rel=1e-4)
    assert found["heads"] == pytest.approx(float(per_head.max()), rel=1e-4)
    found = losses(
        "guided_released", model, student, texts, index, g, gate_heads=0.0, gate_kl=0.0, kl_last=1.0, kl_all=0.5
    )
    assert found["kl_last"] == pytest.approx(np.mean(last_kl), rel=1e-4) and found["kl_all"] == pytest.approx(
        0.5 * all_kl, rel=1e-4
    )
    assert found["heads"] == pytest.approx(float(per_head.sum()), rel=1e-4)


@pytest.mark.parametrize("name", ["guided", "guided_released", "kl_start", "kl_random", "heads_only"])
def test_padding_takes_no_part(name):
    model, texts = tiny(), prompts(8)
    student = moved(model)
    assert losses(name, model, student, texts, [6, 0, 3], guide(), pad=0) == pytest.approx(
        losses(name, model, student, texts, [6, 0, 3], guide(), pad=77), rel=1e-6
    )


def test_the_ablations_differ_from_the_guided_loss_only_in_their_vector():
    model, texts, g, index = tiny(), prompts(8), guide(), [6, 0, 3]
    student = moved(model)
    last = [len(texts[i][0]) - 1 for i in index]
    none = losses("kl_start", model, student, texts, index, g, a1=1.0)
    assert none == losses("guided", model, student, texts, index, g, vector="none")
    expected = 0.08 * np.mean(
        [kl(logits_of(student, texts[i][0])[p], logits_of(model, texts[i][0])[p]) for i, p in zip(index, last)]
    )
    assert none["kl"] == pytest.approx(expected, rel=1e-4)
    other = g.random_like(3)
    assert float(other.direction.norm()) == pytest.approx(float(g.direction.norm()), rel=1e-6)
    assert abs(float(torch.cosine_similarity(other.direction, g.direction, 0))) < 0.6
    drawn = losses("kl_random", model, student, texts, index, g, vector_seed=3)
    expected = 0.08 * np.mean(
        [
            kl(logits_of(student, texts[i][0])[p], logits_of(model, texts[i][0], g.layer, other.direction, p)[p])
            for i, p in zip(index, last)
        ]
    )
    assert drawn["kl"] == pytest.approx(expected, rel=1e-4) and set(drawn) == {"kl"}
    assert losses("heads_only", model, student, texts, index, g) == {"heads": none["heads"]}
    with pytest.raises(TrainingError, match="direction='sideways'"):
        divergence(torch.zeros(1, 3), torch.zeros(1, 3), direction="sideways")


def test_the_progressive_vector_fades_and_is_gone_after_half():
    model, texts, g = tiny(), prompts(5), guide()
    rows = Rows.of(texts)
    plan = (m := method("progressive")).prepare(Setup(model, None, 0, Stage("s", rows), (), g, None, (), 0), m.options)
    around = plan.around(model)
    for step, scale in ((0, 1.0), (2, 0.6), (5, 0.0), (9, 0.0)):
        batch = Batch(torch.arange(5), rows.ids, rows.targets, rows.lengths, step, 10)
        with around(batch):
            seen = model(input_ids=rows.ids).logits
        for i, (ids, _) in enumerate(texts):
            assert torch.allclose(
                seen[i, len(ids) - 1], logits_of(model, ids, g.layer, scale * g.direction, len(ids) - 1)[-1], atol=1e-5
            )


def test_penalties_are_sums_over_what_moved_also_under_adapters():
    model = tiny()
    anchor = {n: p.clone() for n, p in model.named_parameters()}
    student = moved(model)
    by_hand = sum(float((p - anchor[n]).double().square().sum()) for n, p in student.named_parameters())
    assert losses("l2sp", model, student, prompts(4), [0, 1], alpha=0.5)["penalty"] == pytest.approx(
        0.25 * by_hand, rel=1e-5
    )
    lora = LoRA(rank=4)
    names = lora.touched(model)
    wrapped = lora.put_on(model, 0)
    torch.manual_seed(1)
    for n, p in wrapped.named_parameters():
        if "lora_B" in n:
            p.data.normal_()
    inside = squared_change(
        wrapped, {n: anchor[n] for n in names}, {n: torch.full_like(anchor[n], 3.0) for n in names}
    ).item()
    merged = lora.merged(wrapped)
    after = dict(merged.named_parameters())
    assert after.keys() == anchor.keys() and {n for n in after if not torch.equal(after[n], anchor[n])} == set(names)
    assert inside == pytest.approx(3 * sum(float((after[n] - anchor[n]).square().sum()) for n in names), rel=1e-4)


def test_fisher_information_empirical_and_true():
    model, name = tiny(), "model.norm.weight"
    weight = dict(model.named_parameters())[name]

    def squares(ids, at, labels):
        weight.requires_grad_(True)
        loss = (
            -model(input_ids=torch.tensor([ids]))
            .logits[0, [p - 1 for p in at]]
            .log_softmax(-1)[range(len(at)), labels]
            .sum()
        )
        out = torch.autograd.grad(loss, weight)[0].square()
        weight.requires_grad_(False)
        return out

    texts = prompts(5)
    by_hand = torch.stack([squares([*p, *a], list(range(len(p), len(p) + len(a))), list(a)) for p, a in texts]).mean(0)
    assert torch.allclose(fisher(model, Rows.of(texts), [name], kind="empirical")[name], by_hand, rtol=1e-4, atol=1e-7)
    prompt = texts[0][0]
    p = logits_of(model, prompt)[-1].softmax(-1)
    exact = sum(float(p[y]) * squares([*prompt, 1], [len(prompt)], [y]) for y in range(97))
    found = fisher(model, Rows.of([(prompt, [1])] * 400), [name], kind="true", examples=400)[name]
    assert float(found.sum()) == pytest.approx(float(exact.sum()), rel=0.2)
    assert not any(p.requires_grad for p in model.parameters())
    with pytest.raises(ForgettingError, match="kind='half'"):
        fisher(model, Rows.of(texts), [name], kind="half")


def test_a_guide_that_does_not_fit_is_refused():
    for wrong, said in (
        (Guide(torch.ones(64), 1), "d_model 64, this model 32"),
        (guide(layer=3), "layer=3 is out of range"),
        (guide(heads=((0, 4),)), r"head \(0, 4\)"),
    ):
        with pytest.raises(ForgettingError, match=said):
            wrong.check(tiny())
    with pytest.raises(ForgettingError, match="at='mlp_out'"):
        guide(at="mlp_out")
    with pytest.raises(ForgettingError, match="one finite vector"):
        Guide(torch.full((4,), torch.nan), 0)


def test_only_rows_that_training_sees_are_read():
    rows = Rows.of(prompts(30))
    setup = Setup(
        tiny(), None, 0, Stage("s", rows), (), guide(), None, (), 0, Recipe(steps=2, batch=4, learning_rate=1e-3)
    )
    assert len(setup.needed()) == 8
    found = (m := method("guided")).prepare(setup, m.options)
    assert found.notes["teacher_mb"] == pytest.approx(8 * (32 + 24) * 4 / 2**20, abs=1e-3)
