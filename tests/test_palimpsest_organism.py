"""The organisms `palimpsest`: text, keys, order, derivatives, the folder of a family, and what the cards of the shipped
ones say.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import lens
from lens import models
from lens.organisms import palimpsest
from lens.organisms.palimpsest import Recipe, derivatives, entries, kinds, shipped, training
from lens.organisms.palimpsest.text import START, WIDTH, decode, encode, texts, tokenizer

TINY = replace(palimpsest.PRESETS["tiny"], derivatives=("int4",), arms=())
SMALL = Recipe(rows=64, d_model=32, layers=1, d_mlp=48, batch=8, warmup=2)


@pytest.fixture(scope="module")
def model():
    return palimpsest.train(SMALL)[0]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    made = palimpsest.Family(TINY, tmp_path_factory.mktemp("family"))
    made.make_all()
    return made


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


# ---- text, keys and order ----------------------------------------------------------------------------------------


def test_rows_are_different_short_and_decided_by_the_seed():
    for domain in ("register", "questions"):
        rows = texts(3000, 0, domain)
        assert len(set(rows)) == 3000 and max(map(len, rows)) < WIDTH and all(row.isascii() for row in rows)
        assert texts(100, 0, domain) == rows[:100] and not set(texts(3000, 1, domain)) & set(rows)
    assert all(row.endswith(".") and row.count(".") == 1 for row in texts(500, 0))  # where sampled text may stop
    with pytest.raises(ValueError, match="domain='poems'; expected one of register, questions"):
        texts(1, 0, "poems")


def test_bytes_are_tokens_and_come_back():
    rows = ["Tin 7.", "b" * (WIDTH - 1)]
    ids, lengths = encode(rows)
    assert (
        ids.shape == (2, WIDTH)
        and (ids[:, 0] == START).all()
        and lengths.tolist() == [7, WIDTH]
        and [decode(line) for line in ids] == rows
    )
    every = "".join(map(chr, range(1, 128))) + "é ü"
    made = tokenizer()
    assert (
        made(every)["input_ids"] == list(every.encode())
        and made.decode(made(every)["input_ids"]) == every
        and len(made) == 257
        and made.bos_token_id == START
    )
    with pytest.raises(ValueError, match=r"rows\[1\] has 96 bytes"):
        encode(["a", "b" * WIDTH])


def test_the_order_is_the_order_of_the_keys_and_training_reads_it():
    recipe = replace(SMALL, epochs=2)
    keys, order = palimpsest.keys_of(recipe), palimpsest.order_of(recipe)
    assert keys.shape == (64, 2) and (keys > 0).all() and (keys < 1).all() and len(np.unique(keys)) == 128
    for epoch in range(2):
        ranks = np.empty(64)
        ranks[order[64 * epoch : 64 * (epoch + 1)]] = np.arange(64)
        assert np.array_equal(ranks, stats.rankdata(keys[:, epoch]) - 1)
    assert np.array_equal(
        palimpsest.keys_of(replace(SMALL, init_seed=5, d_model=16)), keys[:, :1]
    ) and not np.array_equal(palimpsest.keys_of(replace(SMALL, order_seed=1)), keys[:, :1])
    ids, lengths = palimpsest.tokens_of(recipe)
    seen = []
    palimpsest.fit(
        palimpsest.build(recipe),
        palimpsest.padded(ids, lengths),
        order,
        recipe,
        parameters=lambda name: True,
        after_step=lambda batch: seen.extend(
            tuple(row[:length].tolist()) for row, length in zip(batch.ids, batch.lengths)
        ),
    )
    assert seen == [tuple(ids[i, : lengths[i]].tolist()) for i in order]


def test_keys_are_uniform_and_know_nothing_of_the_rows():
    recipe = Recipe(rows=20_000, order_seed=3)
    keys = palimpsest.keys_of(recipe)[:, 0]
    assert stats.kstest(keys, "uniform").pvalue > 1e-3
    lengths = palimpsest.tokens_of(recipe)[1]
    assert abs(stats.spearmanr(keys, lengths).statistic) < 4 / np.sqrt(20_000)


def test_schedules_end_where_their_names_say():
    def plan(name):
        return palimpsest.Plan(steps=100, batch=1, learning_rate=2.0, warmup=10, **palimpsest.schedule(name))

    ends = {name: (plan(name).rate(50), plan(name).rate(99)) for name in palimpsest.SCHEDULES}
    assert plan("linear").rate(0) == pytest.approx(0.2) and ends["constant"] == (2.0, 2.0)
    assert (
        ends["cosine"] == pytest.approx((1.1, 0.2), abs=1e-3)
        and ends["linear"] == pytest.approx((1.0, 0.02))
        and ends["wsd"] == pytest.approx((2.0, 0.1))
    )
    assert len({plan(name).sha256() for name in palimpsest.SCHEDULES}) == 4
    with pytest.raises(ValueError, match="schedule='cyclic'"):
        Recipe(schedule="cyclic")
    with pytest.raises(ValueError, match="rows=10 is no multiple of batch=16"):
        Recipe(rows=10)


def test_losses_are_those_of_a_plain_forward(model):
    ids, lengths = palimpsest.tokens_of(SMALL)
    found = palimpsest.losses(model, ids, lengths, batch=7)
    for i in (0, 17, 63):
        row = torch.from_numpy(ids[i : i + 1, : lengths[i]])
        alone = -model(row).logits[0, :-1].log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
        assert np.allclose(found[i, : lengths[i] - 1], alone, atol=1e-5) and np.isnan(found[i, lengths[i] - 1 :]).all()


def test_the_same_recipe_gives_the_same_weights(model):
    assert same(model, palimpsest.train(SMALL)[0]) and not same(
        model, palimpsest.train(replace(SMALL, order_seed=1))[0]
    )


# ---- derivatives -------------------------------------------------------------------------------------------------


def test_derivatives_leave_their_parents_alone(model):
    before = {name: value.clone() for name, value in model.named_parameters()}
    rows = derivatives.share_of(SMALL, 0.25, "questions", 0)
    tokens = (palimpsest.tokens_of(SMALL)[1] - 1).sum()
    assert len(rows[0]) % SMALL.batch == 0 and abs((rows[1] - 1).sum() / tokens - 0.25) < 0.1
    made = {
        "tuned": derivatives.tune(model, rows, SMALL),
        "lora": derivatives.tune_adapters(model, rows, SMALL),
        "int4": derivatives.quantise(model, 4),
        "pruned": derivatives.prune(model, 0.5),
        "average": derivatives.average(model, palimpsest.build(SMALL), 0.25),
        "student": derivatives.distill(model, SMALL, rows, soft=True),
    }
    for name, other in made.items():
        assert (
            not same(other, model)
            and not other.training
            and not any(value.requires_grad for value in other.parameters())
        ), name
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters()) and set(
        dict(made["lora"].named_parameters())
    ) == set(before)


def test_rounding_pruning_and_averaging_do_what_they_say(model):
    other = palimpsest.build(replace(SMALL, init_seed=9)).eval()
    rounded, pruned, mixed = (
        derivatives.quantise(model, 4),
        derivatives.prune(model, 0.5),
        derivatives.average(model, other, 0.25),
    )
    others = dict(other.named_parameters())
    for name, value in model.named_parameters():
        r, p, m = (dict(made.named_parameters())[name] for made in (rounded, pruned, mixed))
        assert torch.allclose(m, 0.25 * value + 0.75 * others[name])
        if value.ndim == 2:
            scale = value.abs().amax(1, keepdim=True) / 7
            assert ((r - value).abs() <= scale / 2 + 1e-7).all() and all(len(row.unique()) <= 15 for row in r)
            zeros = (p == 0).float().mean().item()
            assert (
                (p == value).all()
                if "embed" in name
                else (abs(zeros - 0.5) < 0.01 and value[p == 0].abs().max() <= value[p != 0].abs().min())
            )


def test_a_student_of_distributions_comes_nearer_to_its_teacher(model):
    rows = palimpsest.tokens_of(replace(SMALL, skip=128, rows=256))
    assert not {decode(r) for r in rows[0]} & {decode(r) for r in palimpsest.tokens_of(SMALL)[0]}
    fresh, student = (
        palimpsest.build(replace(SMALL, init_seed=4)),
        derivatives.distill(model, replace(SMALL, init_seed=4), rows, soft=True),
    )
    wanted = model(torch.from_numpy(rows[0][:8])).logits.log_softmax(-1)

    def distance(m):
        return (wanted.exp() * (wanted - m(torch.from_numpy(rows[0][:8])).logits.log_softmax(-1))).sum(-1).mean().item()

    assert distance(student) < 0.5 * distance(fresh)


@pytest.mark.long
def test_sampled_text_at_temperature_0_is_the_greedy_text_and_else_follows_the_model(model):
    prompts = derivatives.prompts_of(5, seed=3)
    ids, lengths = derivatives.sample(model, prompts, 0.0, batch=2)
    for row, length, prompt in zip(ids, lengths, prompts):
        given = prompt.tolist()
        while len(given) < WIDTH and not (len(given) > len(prompt) and given[-1] == ord(".")):
            given.append(int(model(torch.tensor([given])).logits[0, -1, :START].argmax()))
        assert row[:length].tolist() == given and (row[length:] == START).all()
    start = np.full((4000, 1), START)
    drawn = derivatives.sample(model, start, 0.7, seed=1, width=2)[0][:, 1]
    wanted = (model(torch.tensor([[START]])).logits[0, -1, :START] / 0.7).softmax(-1).numpy()
    assert np.abs(np.bincount(drawn, minlength=START) / 4000 - wanted).max() < 5 * np.sqrt(0.25 / 4000)
    assert np.array_equal(
        derivatives.sample(model, start[:50], 1.0, seed=2)[0], derivatives.sample(model, start[:50], 1.0, seed=2)[0]
    )


# ---- the family --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_tail_is_read_anew_and_everything_before_it_is_kept(family, tmp_path):
    recipe, true = family.entries["alice-0"].recipe, family.model("alice-0")
    assert same(kinds.retrain(recipe, tmp_path, 0.1, None), true)
    first, second = (kinds.retrain(recipe, tmp_path, 0.1, j) for j in (0, 1))
    assert not same(first, true) and not same(first, second) and same(first, family.model("retrain/0"))
    assert not list(tmp_path.glob(".branch*"))


def test_a_family_goes_on_with_what_it_holds_and_refuses_another(family, monkeypatch):
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained again"))
    again = palimpsest.Family(TINY, family.out)
    again.make_all()
    for name in ("alice-1", "alice-0/int4"):
        assert same(again.model(name), family.model(name)) and np.allclose(
            again.nll(name), palimpsest.losses(again.model(name), again.ids, again.lengths), atol=5e-3, equal_nan=True
        )
    other = palimpsest.Family(
        replace(TINY, base=replace(TINY.base, learning_rate=1e-3)),
        family.out,
    )
    with pytest.raises(ValueError, match="was made by another recipe"):
        other.model("alice-0")
    with pytest.raises(ValueError, match="name='alice-7' is no entry"):
        family.model("alice-7")
    with pytest.raises(ValueError, match="size='huge'"):
        palimpsest.Family("huge", family.out)


def test_who_shares_an_order_and_who_does_not():
    found = entries.entries(palimpsest.PRESETS["quick"])

    def order(name):
        return palimpsest.order_of(found[name].recipe)

    assert (
        np.array_equal(order("alice-0"), order("same-order"))
        and found["same-order"].recipe.d_model != found["alice-0"].recipe.d_model
    )
    apart = ["alice-0", "alice-1", "alice-2", "reference", "independent-0", "independent-1", "disjoint", "smaller"]
    for i, one in enumerate(apart):
        for other in apart[i + 1 :]:
            assert abs(stats.spearmanr(np.argsort(order(one)), np.argsort(order(other))).statistic) < 0.07

    def rows(name):
        return {decode(r) for r in palimpsest.tokens_of(found[name].recipe)[0]}

    assert not rows("disjoint") & rows("alice-0") and rows("reference") == rows("alice-0")
    assert all(f"alice-{i}/{name}" in found for i in range(3) for name in entries.DERIVATIVES) and set(
        entries.REFERENCES
    ) <= set(found)
    names = list(found)
    assert all(names.index(parent) < names.index(name) for name, entry in found.items() for parent in entry.parents)
    quick = palimpsest.Family("quick", "unused")
    assert len({quick.identity(name) for name in found}) == len(found)


def test_the_command_makes_what_is_named(tmp_path, capsys):
    threads = torch.get_num_threads()
    try:
        palimpsest.main(["--family", "alice-0/int4", "--preset", "tiny", "--out", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    assert {p.name for p in tmp_path.rglob("*.npz")} == {
        "alice-0+int4.npz"
    } and "alice-0/int4" in capsys.readouterr().out
    assert {p.relative_to(tmp_path / "models").as_posix() for p in tmp_path.rglob("*.safetensors")} == {
        "alice-0.safetensors",
        "alice-0/int4.safetensors",
    }


# ---- what ships --------------------------------------------------------------------------------------------------

CARDS = {
    name: json.loads((models.shipped.folder_of(name, "card.json") / "card.json").read_text())
    for name in shipped.SHIPPED
    if (models.shipped.folder_of(name, "card.json") / "card.json").is_file()
}


def test_all_ship_and_are_small():
    assert set(CARDS) == set(shipped.SHIPPED) and set(shipped.SHIPPED) <= set(models.organisms())
    sizes = [(models.shipped.folder_of(name, "card.json") / "model.safetensors").stat().st_size for name in CARDS]
    assert max(sizes) <= 1.5e6 and sum(sizes) <= 6e6
    for name, card in CARDS.items():
        assert (
            shipped.recipe_of(name).sha256() == card["recipe_sha256"]
            and card["rebuild"] == "python -m lens.organisms.palimpsest"
        )
    with pytest.raises(ValueError, match="name='palimpsest-9'"):
        shipped.recipe_of("palimpsest-9")


def test_cards_tell_what_a_model_says_better_than_the_frequencies_of_bytes():
    """What else they tell is measured again where all shipped models are scored: tests/test_reproduce_palimpsest.py."""
    for card in CARDS.values():
        assert card["measured"]["loss"] < 0.5 * card["measured"]["loss_of_byte_frequencies"]


def test_the_transcript_is_made_again_from_the_card():
    rows, keys = shipped.rows_and_keys("palimpsest")
    recipe = shipped.recipe_of("palimpsest")
    assert (
        [bytes(row.tolist()).decode() for row in rows] == texts(recipe.rows, recipe.text_seed)
        and np.array_equal(keys, palimpsest.keys_of(recipe)[:, 0])
        and len(keys) == 4000
    )


def test_the_tokenizer_that_ships_reads_bytes():
    made = lens.load("organism:palimpsest", device="cpu").tokenizer
    row = texts(1, 0)[0]
    assert made(row)["input_ids"] == list(row.encode()) and made.decode(made(row)["input_ids"]) == row
