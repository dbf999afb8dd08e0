"""The study of the Jacobian lens at its tiny size: whole, taken up, judged anew, against forwards under plain edits."""

import numpy as np
import pandas as pd
import pytest
import torch

import lens
from lens.injection import Item
from lens.reproduce import ReproduceError, common, reproduction
from lens.reproduce.jacobian_lens import bench, steps, verdicts
from lens.stats import mean_interval
from tests.models import speaking

STUDY = reproduction("jacobian-lens")
TEXTS = [" ".join(f"w{(7 * i + 3 * j * j + i * j) % 96 + 1}" for j in range(20)) for i in range(2)]


def item(i, **other):
    words = dict(
        prompt=f"w{i + 1} w{i + 2} w{2 * i + 3} w{i + 4} w5",
        explicit=f"w{i + 1} w5",
        memory=f"w{60 + i}",
        answer=f" w{80 + i}",
        subject=f"w{i + 2} w{2 * i + 3}",
        label=f"q{i}",
        group=f"g{i % 2}",
    )
    return Item(**words | other)


ITEMS = {"select": [item(i) for i in range(6)], "report": [item(i) for i in range(8, 14)]}


@pytest.fixture(scope="module")
def model():
    return speaking("llama")


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    asked = dict(data=folder / "texts.txt", preset="tiny", out=folder / "run", items=ITEMS, progress=False)
    return STUDY.run(model, **asked), asked


def test_a_run_judges_every_claim_and_is_read_back(run, model):
    made, asked = run
    assert [row[0] for row in made.table.attrs["claims"]] == [
        "logit_lens", "random", "another", "any_layer", "halves", "without", "swap"
    ]  # fmt: skip
    assert made.numbers["candidates"] == 12 and made.numbers["questions"] == 6
    again = STUDY.load(asked["out"], model=model)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    assert {path.name for path in made.figures} == {"by_layer.png", "edits.png"}


def test_a_run_that_was_cut_goes_on_without_what_is_done(run, model, monkeypatch):
    made, asked = run
    (asked["out"] / "tables" / "edits.seed-0.parquet").unlink()
    monkeypatch.setattr(steps, "ranks", lambda *given: pytest.fail("ranks were there"))
    taken_up = STUDY.run(model, **asked)
    assert taken_up.table.equals(made.table)
    with pytest.raises(lens.ResultError, match="another configuration"):
        STUDY.run(model, **asked | {"seed": 1})


def test_places_are_those_of_logits_and_the_layer_is_the_other_halfs(run, model):
    made, _ = run
    ranks = made.tables["ranks"]
    for split, i, tokens in (("report", 0, 12), ("select", 5, 12)):
        asked = ITEMS[split][i]
        candidates = [60 + j for j in (*range(6), *range(8, 14))]
        read = lens.logit_lens(model, f"w0 {asked.prompt}", positions=3, k=97)
        for layer in (0, 1):
            order = read["top_id"].sel(layer=layer).values.tolist()
            place = [t for t in order if t in candidates].index(int(asked.memory[1:]))
            row = ranks.query(
                "item == @asked.label and reading == 'logit_lens' and position == 'subject' and layer == @layer"
            )
            assert row["rank"].tolist() == [place] and row.candidates.tolist() == [tokens]
    select = ranks[(ranks.split == "select") & (ranks.reading == "lens") & (ranks.position == "subject")]
    best = select.groupby("layer")["rank"].mean().idxmin()
    assert verdicts.best_layers(ranks)["lens"] == best == made.numbers["layer_lens"]
    mine = ranks.query("split == 'report' and position == 'subject' and layer == @best")
    by = {name: 1 - mine[mine.reading == name].set_index("entity")["rank"] / 11 for name in ("lens", "another")}
    want = mean_interval((by["lens"] - by["another"]).to_numpy(), values="number", seed=0)
    assert made.numbers["lens_over_another"] == pytest.approx(float(want.estimate))
    assert made.numbers["lens_over_another_low"] == pytest.approx(float(want.low))


def test_edits_are_those_of_a_forward_under_them(run, model):
    made, _ = run
    table = made.tables["edits"].set_index(["item", "condition", "draw"])
    layer = made.numbers["layer_lens"]
    chosen = bench.questions(model, STUDY.presets["tiny"], ITEMS)
    fitted = lens.jacobian_lens.fit(
        model, TEXTS, tokens=sorted({q.bridge for q in chosen}), length=24, skip=8, progress=False
    )
    q = next(q for q in chosen if q.split == "report" and q.partner is not None)
    partner = chosen[q.partner]
    assert partner.group == q.group and partner.bridge != q.bridge and q.subject == 3
    where = [3, 4, 5]
    for name, edit in {
        "plain": None,
        "without": fitted.span(model, layer, [q.bridge]).edit("zero", position=where),
        "swap": fitted.span(model, layer, [q.bridge, partner.bridge]).swap(q.bridge, partner.bridge, position=where),
    }.items():
        with lens.edited(model, *([] if edit is None else [edit])):
            logits = model(torch.tensor([q.ids])).logits[0, -1]
        row = table.loc[q.item, name, 0]
        assert row.logprob == pytest.approx(logits.log_softmax(-1)[q.answer].item(), abs=1e-4)
        assert row.apart == pytest.approx((logits[q.answer] - logits[partner.answer]).item(), abs=1e-4)
    # of each question three draws of both random edits beside the four conditions, no two alike
    assert len(table) == 4 * (4 + 2 * 3) and np.isfinite(table.logprob).all() and made.numbers["draws"] == 3
    assert table.xs("without random", level="condition").logprob.nunique() == 4 * 3


def test_bad_input_is_refused_by_name(model, tmp_path):
    (tmp_path / "one.txt").write_text("w1 w2 w3\n\n")
    for options, said in (
        (dict(data=tmp_path / "missing.txt"), "data=.*missing.txt.*cannot be read"),
        (dict(data=tmp_path / "one.txt"), "holds 1 texts"),
        (dict(items=ITEMS | {"report": [item(1, memory="w60 w61")]}), "half 'report'"),
        (dict(items=ITEMS | {"select": [item(1, subject=None)]}), "half 'select'"),
    ):
        with pytest.raises(ReproduceError, match=said):
            STUDY.run(model, **dict(preset="tiny", items=ITEMS) | options)


def test_intervals_hold_other_entities_and_other_draws():
    """Entities that agree on each of two draws say nothing of a third: of normal parts the bounds are missed in about
    .05 of cases, those of entities alone in most.
    """
    rng, missed = np.random.default_rng(0), np.zeros(2)
    for _ in range(100):
        values = rng.standard_normal((20, 1)) * 0.5 + rng.standard_normal((1, 5)) + rng.standard_normal((20, 5)) * 0.1
        found = verdicts.over_draws(pd.DataFrame(values), 0), mean_interval(values.mean(1), values="number")
        missed += [not one.low <= 0 <= one.high for one in found]
    assert missed[0] <= 12 and missed[1] > 30
    one = verdicts.over_draws(pd.DataFrame(values[:, :1]), 0)
    assert one.low == pytest.approx(common.mean_interval(values[:, 0], 0).low)


@pytest.mark.parametrize(
    "random, another, word",
    [(0.0, 0.0, "holds"), (0.0, 0.5, "holds in part"), (0.5, 0.5, "not shown"), (1.0, 1.0, "does not hold")],
)
def test_what_the_bridge_carries_is_judged_against_a_random_and_against_another_direction(run, random, another, word):
    """Another bridge's direction has as much of the stream; to be above a random one alone is a part."""
    made, _ = run
    lines = []
    for entity in range(8):
        noise = 0.01 * (entity - 3.5) * (100 if word == "not shown" else 1)
        for name, loss in (("plain", 0.0), ("without", 0.5), ("without random", random), ("without another", another),
                           ("swap", 1.0), ("swap random", 0.0)):  # fmt: skip
            lost = loss + noise * (name == "without")
            lines.append((entity, f"e{entity}", name, 0, 3, -1.0 - lost, 1.0 - lost))
    edits = pd.DataFrame(lines, columns=["item", "entity", "condition", "draw", "layer", "logprob", "apart"])
    table, _ = verdicts.verdicts({**made.tables, "edits": edits}, seed=0)
    said = dict(zip([row[0] for row in table.attrs["claims"]], table.verdict, strict=True))
    assert said["without"].startswith(word) and (word != "holds" or said["without"] == "holds")
