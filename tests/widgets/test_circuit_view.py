"""CircuitView's state without a browser: scores, one edge's exact effect, faithfulness, what is refused and kept."""

import json
import threading

import numpy as np
import pytest
import xarray as xr

import lens
import widgets
from lens.circuits import CircuitError, Edges, Graph, open_circuit, top_edges
from lens.prompts import Pair
from tests.models import speaking
from tests.widgets import fakes
from widgets.circuit_view import work

SECONDS = 60
PAIRS = [
    Pair(f"a {word} b c", corrupted=f"a {other} b c", answer=" y", foil=" z", label=f"pair {word}")
    for word, other in zip("defghi", "jklmno", strict=True)
]


class FakeEdges:
    """Stands in for `lens.edges`: scores and exact effects whose values are known; `gate` is waited for by each pair,
    `error` raised.
    """

    def __init__(self, graph=None, *, gate=None, error=None, scores=None, check=0) -> None:
        self.graph, self.gate, self.error, self.calls = graph or Graph(3, 4, 2, 8), gate, error, []
        rng = np.random.default_rng(0)
        self.truth = rng.normal(size=self.graph.exists.shape) ** 3 if scores is None else scores
        self.check = check

    def values(self, n, method):
        """What each edge speaks for the answer, by pair; scores are off by a tenth."""
        spread = np.linspace(-0.5, 0.5, n) ** 3 + np.linspace(0, 0.1, n)
        own = self.truth + (spread - spread.mean())[:, None, None]
        return np.where(self.graph.exists, own if method == "exact" else 1.1 * own, np.nan)

    def __call__(
        self, model, pairs, *, method="inputs", metric="logit_diff", ablation="counterfactual", edges=None,
        direction="noise", by="prompt", check=None, progress=None, stop=None, steps=None, sums=None,
    ):  # fmt: skip
        if method == "exact" and (steps, sums) != (None, None):
            raise ValueError(f"steps={steps} goes with method='inputs' or 'activations'")
        pairs = [pairs] if isinstance(pairs, Pair) else pairs
        self.calls.append((method, metric, ablation, edges) if by == "prompt" else (method, len(pairs), by, edges))
        if self.error is not None:
            raise self.error
        graph, n, status = self.graph, len(pairs), "complete"
        effect = -self.values(n, method)
        for i in range(n):
            while self.gate is not None and method != "exact" and not self.gate.acquire(timeout=0.02):
                if stop():
                    break
            if stop is not None and stop():
                effect[i:], status = np.nan, "partial"
                break
        if method == "exact":
            effect = np.where(graph.mask(edges), effect, np.nan)
        data = {"effect": (("prompt", "reader", "writer"), effect.astype(np.float32))}
        coords = {"prompt": range(n), "reader": list(graph.readers), "writer": list(graph.writers)}
        if by == "position":
            # the first token carries a quarter, the last one the rest
            parts = np.zeros(len(pairs[0].clean.split()))
            parts[0], parts[-1] = 0.25, 0.75
            at = effect[:, None] * parts[:, None, None]
            data["effect_at"] = (("prompt", "position", "reader", "writer"), at.astype(np.float32))
            words = [fakes.encode(model, pair).clean_tokens for pair in pairs]
            coords |= {"position": range(len(parts)), "token_clean": (("prompt", "position"), np.array(words))}
        if self.check and method != "exact" and status == "complete":
            selected = np.zeros(graph.exists.shape, np.int8)
            selected[top_edges(graph, self.truth, self.check)] = 1
            exact = np.where(selected > 0, -self.values(n, "exact"), np.nan)
            data |= {"exact": (("prompt", "reader", "writer"), exact), "selected": (("reader", "writer"), selected)}
        sizes = {k: getattr(graph, k) for k in ("n_layers", "n_heads", "n_kv_heads", "d_model", "parallel")}
        call = {
            "method": method, "metric": metric, "unit": "logits", "graph": sizes, "direction": direction,
            "ablation": ablation,
        }  # fmt: skip
        call |= {"steps": 5, "sums": "midpoint"} if method == "inputs" else {}
        record = {
            "schema": 1, "kind": "edges", "status": status, "call": call, "model": {"name": "tiny"},
            "pairs": [p.as_record() for p in pairs], "seconds": 0.1,
        }  # fmt: skip
        data |= {"clean": ("prompt", np.full(n, 2.0)), "corrupted": ("prompt", np.full(n, -2.0))}
        return Edges.of(xr.Dataset(data, coords, {"mnemoscope": json.dumps(record)}))


class FakeFaithfulness:
    """Stands in for `lens.faithfulness`: a curve that rises with the size, random ones below."""

    def __init__(self, gate=None, error=None, found_on=0) -> None:
        self.gate, self.error, self.found_on, self.calls = gate, error, found_on, []

    def __call__(self, model, pairs, circuits, *, metric, ablation, progress=None, stop=None):
        self.calls.append((list(pairs), metric, ablation))
        if self.error is not None:
            raise self.error
        sizes = np.array([0.01, 0.1, 0.5, 1.0])
        while self.gate is not None and not self.gate.acquire(timeout=0.02) and not stop():
            pass
        stop()
        shape, f = (2, len(sizes)), np.broadcast_to(np.sqrt(sizes), (2, len(sizes)))
        dims = ("ranking", "circuit")
        data = {
            "f": (dims, f), "f_low": (dims, f - 0.1), "f_high": (dims, f + 0.1),
            "n_edges": (dims, np.full(shape, 5)), "n_pruned": (dims, np.full(shape, 4)),
            "random": ((*dims, "draw"), np.stack([f - 0.4, f - 0.3], -1)), "p": (dims, np.full(shape, 1 / 3)),
            "complement": (dims, 1 - f), "full": ("prompt", np.full(len(pairs), 2.0)),
            "empty": ("prompt", np.full(len(pairs), -2.0)), "CPR": ("ranking", [0.8, 0.7]),
            "CMD": ("ranking", [0.1, 0.2]), "random_CPR": (("ranking", "draw"), [[0.3, 0.2], [0.3, 0.2]]),
            "random_CMD": (("ranking", "draw"), [[0.7, 0.6], [0.7, 0.6]]),
        }  # fmt: skip
        record = {
            "schema": 1,
            "kind": "faithfulness", "status": "complete",
            "call": {
                "controls": 2, "intervals": {"level": 0.95}, "found_on": self.found_on, "unit": "logits",
                "ablation": ablation,
            },
        }  # fmt: skip
        attrs = {"mnemoscope": json.dumps(record)}
        return xr.Dataset(data, {"ranking": ["signed", "absolute"], "circuit": sizes}, attrs)


def view(pairs=PAIRS, *, edges=None, faithfulness=None, run=True, **options):
    edges = edges or FakeEdges()
    model = fakes.FakeModel(edges.graph.n_layers, edges.graph.n_heads)
    made = widgets.CircuitView(
        model, pairs, _edges=edges, _faithfulness=faithfulness or FakeFaithfulness(), _encode=fakes.encode, **options
    )
    if run:
        made.run(wait=True)
    assert made.wait(SECONDS)
    return made


def test_every_score_is_published_in_the_order_of_the_graph_and_the_kept_ones_are_counted():
    edges = FakeEdges()
    made = view(edges=edges)
    graph = edges.graph
    scores = np.frombuffer(made.graph["scores"], "<f4")
    np.testing.assert_allclose(scores, 1.1 * edges.truth[graph.exists], rtol=0, atol=1e-5)  # float32
    assert made.status == "complete" and made.graph["edges"] == len(scores) == graph.n_edges
    made.shown = 7
    assert made.wait(SECONDS)
    mask = top_edges(graph, edges.truth, 7)
    size = np.abs(1.1 * edges.truth)
    assert made.kept["n"] == 7 and made.kept["on_path"] == graph.pruned(mask).sum()
    assert abs(made.kept["least"]) == pytest.approx(size[mask].min(), rel=1e-5)
    assert made.kept["share"] == pytest.approx(size[mask].sum() / size[graph.exists].sum(), rel=1e-5)
    assert (made.circuit().kept == mask).all()


def test_a_chosen_edge_is_run_once_for_its_exact_effect_with_an_interval_over_pairs():
    edges = FakeEdges()
    made = view(edges=edges)
    made.edge = "a0.h1->a2.kv1<v>"
    assert made.wait(SECONDS)
    truth = edges.truth[edges.graph.edge(made.edge)]
    detail = made.detail
    assert detail["status"] == "ready" and detail["exact"]["mean"] == pytest.approx(truth, rel=1e-4)
    assert detail["score"]["mean"] == pytest.approx(1.1 * truth, rel=1e-4)
    assert detail["exact"]["low"] < truth < detail["exact"]["high"] and detail["exact"]["n"] == len(PAIRS)
    assert edges.calls[-1] == ("exact", "logit_diff", "counterfactual", [made.edge])
    asked = len(edges.calls)
    for name in ("input->logits", "a0.h1->a2.kv1<v>"):
        made.edge = name
        assert made.wait(SECONDS)
    assert len(edges.calls) == asked + 1, "an edge is run once"


def test_fewer_than_five_pairs_have_no_interval_and_it_is_said():
    made = view(PAIRS[:3])
    made.edge = "input->logits"
    assert made.wait(SECONDS)
    assert made.detail["exact"]["low"] is None and "below 5 pairs" in made.detail["exact"]["kind"]


def test_edges_that_were_checked_are_known_and_how_far_scores_are_off_is_said():
    edges = FakeEdges(check=8)
    made = view(edges=edges)
    (name, *_) = edges.graph.names(top_edges(edges.graph, edges.truth, 1))
    made.edge = name
    assert made.detail["status"] == "ready" and len(edges.calls) == 1
    assert made.detail["chosen"] == "among the largest scores"
    assert "Spearman 1.00, slope 1.10, same sign on 100%" in made.graph["check"]


@pytest.mark.parametrize("name", ["a2.h0->m0", "nowhere", "a0.h1->a9.h0<q>", "->"])
def test_an_edge_that_is_not_there_is_told_and_nothing_is_run(name):
    edges = FakeEdges()
    made = view(edges=edges)
    made.edge = name
    assert made.wait(SECONDS)
    assert made.detail["status"] == "error" and "edge=" in made.detail["text"] and len(edges.calls) == 1


def test_an_exact_effect_that_fails_is_told_beside_the_score():
    edges = FakeEdges()
    made = view(edges=edges)
    edges.error = CircuitError("model: was changed")
    made.edge = "input->logits"
    assert made.wait(SECONDS)
    assert made.detail["status"] == "error" and made.detail["text"] == "model: was changed" and made.detail["score"]


def test_a_stopped_run_shows_the_pairs_that_are_finished_and_a_stop_before_them_shows_none():
    for finished in (2, 0):
        gate = threading.Semaphore(finished)
        made = view(edges=FakeEdges(gate=gate), run=False)
        made.run()
        while gate._value:
            threading.Event().wait(0.01)
        made.stop()
        assert made.wait(SECONDS) and made.status == "stopped"
        if finished:
            assert made.graph["pairs"] == 2 and "stopped: 2 of 6 pairs" in made.progress["text"]
            assert np.isfinite(np.frombuffer(made.graph["scores"], "<f4")).all()
        else:
            assert made.graph == {} and made.result is None


def test_errors_are_shown_and_a_new_run_recovers():
    edges = FakeEdges(error=CircuitError("pairs: do not align"))
    made = view(edges=edges)
    assert made.status == "error" and made.error["title"] == "The edges cannot be taken"
    edges.error = None
    made.run(wait=True)
    assert made.status == "complete" and made.error == {}


def test_faithfulness_is_computed_on_held_out_pairs_and_its_numbers_are_published():
    judged = FakeFaithfulness()
    made = view(PAIRS[:4], held_out=PAIRS[4:], faithfulness=judged, metric="logprob")
    assert made.curve["status"] == "idle"
    made.judge(wait=True)
    assert judged.calls == [(PAIRS[4:], "logprob", "counterfactual")]
    line = made.curve["lines"]["absolute"][1]
    assert line["f"] == pytest.approx(0.1**0.5) and line["random"] == pytest.approx([line["f"] - 0.4, line["f"] - 0.3])
    assert made.curve["areas"]["signed"]["CPR"] == 0.8 and made.curve["n"] == 2
    assert made.faithfulness is not None and "lens.faithfulness(model, held_out" in made.code
    made.run(wait=True)
    assert made.curve == {"status": "idle"} and made.faithfulness is None, "a curve of other scores is not shown"


def test_faithfulness_is_stopped_by_its_button_and_by_a_new_run():
    for stop in ("stop judging", "run"):
        gate = threading.Semaphore(0)
        made = view(faithfulness=FakeFaithfulness(gate))
        made.judge()
        assert made.curve["status"] == "running"
        made._on_message(made, {"type": stop}, [])
        assert made.wait(SECONDS)
        assert made.faithfulness is None and made.status == "complete"
        assert made.curve["status"] == ("stopped" if stop == "stop judging" else "idle")


def test_an_edge_is_run_while_faithfulness_is():
    gate = threading.Semaphore(0)
    made = view(faithfulness=FakeFaithfulness(gate))
    made.judge()
    made.edge = "input->logits"
    for _ in range(500):
        if made.detail.get("status") == "ready":
            break
        threading.Event().wait(0.01)
    assert made.detail["status"] == "ready" and made.curve["status"] == "running"
    made.stop_judging()
    assert made.wait(SECONDS)


def test_faithfulness_before_a_run_and_one_that_fails_are_told_at_its_place():
    made = view(run=False)
    made.judge(wait=True)
    assert made.curve["status"] == "error" and "run first" in made.curve["text"]
    made = view(faithfulness=FakeFaithfulness(error=CircuitError("m(full)=1 and m(empty)=1 do not differ")))
    made.judge(wait=True)
    assert made.curve == {"status": "error", "text": "m(full)=1 and m(empty)=1 do not differ"}
    assert made.status == "complete" and made.error == {}


def test_the_tokens_of_the_chosen_pair_are_published():
    made = view()
    made.pair = 2
    assert made.wait(SECONDS)
    assert made.tokens["clean"] == ["a", " f", " b", " c"] and made.tokens["corrupted"][1] == " l"
    made.pair = 99
    assert made.wait(SECONDS) and made.tokens["pair"] == len(PAIRS) - 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "exact"}, "^method: 'exact' is not one of inputs"),
        ({"metric": "rank"}, "^metric: 'rank' is not one of"),
        ({"ablation": "none"}, "^ablation: 'none' is not one of"),
        ({"pairs": []}, "^pairs: holds no pair"),
        ({"pairs": [3]}, r"^pairs\[0\]=3 does not fit"),
        ({"held_out": 3}, "^held_out="),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(options, said):
    with pytest.raises(widgets.ViewError, match=said):
        view(**{"pairs": PAIRS, "run": False} | options)


def test_a_result_is_shown_at_once_with_the_pairs_of_its_record_and_another_models_is_refused():
    edges = FakeEdges()
    found = edges(None, PAIRS, metric="prob", ablation="zero")
    made = view(None, edges=edges, result=found, run=False)
    assert made.status == "complete" and made.metric == "prob" and made.ablation == "zero"
    assert made.graph["pairs"] == len(PAIRS) and made.tokens["clean"][1] == " d"
    made.edge = "input->logits"
    assert made.wait(SECONDS) and edges.calls[-1] == ("exact", "prob", "zero", ["input->logits"])
    with pytest.raises(widgets.ViewError, match="^result: is of 3 layers and 4 heads, and tiny has 5 and 4"):
        widgets.CircuitView(fakes.FakeModel(5, 4), result=found)


def test_the_circuit_and_the_scores_are_saved(tmp_path):
    made = view()
    made.shown = 9
    assert made.wait(SECONDS)
    kept = open_circuit(made.save(tmp_path / "x.json"))
    assert (kept.kept == made.circuit().kept).all() and len(kept) == 9
    with pytest.raises(lens.Error, match="is there already"):
        made.save(tmp_path / "x.json")
    assert Edges.of(lens.open(made.save(tmp_path / "x.zarr"))).graph == made.result.graph
    with pytest.raises(widgets.ViewError, match="^circuit: no edge has a score yet"):
        view(run=False).save(tmp_path / "y.json")


def test_a_saved_state_comes_back_with_its_scores_its_edge_and_its_curve(tmp_path):
    edges = FakeEdges()
    made = view(PAIRS[:5], edges=edges, held_out=PAIRS[5:])
    made.set_state({"shown": 12, "node": "a1.h0", "edge": "input->logits"})
    made.judge(wait=True)
    path = made.save_state(tmp_path / "x.json")
    again = widgets.restore(
        path, fakes.FakeModel(3, 4), _edges=edges, _faithfulness=FakeFaithfulness(), _encode=fakes.encode
    )
    assert again.wait(SECONDS)
    for name in ("graph", "kept", "detail", "curve", "tokens", "code", "shown", "node", "edge", "status"):
        assert getattr(again, name) == getattr(made, name), name
    asked = len(edges.calls)
    again.edge = "a0.h0->logits"
    assert again.wait(SECONDS) and len(edges.calls) == asked + 1
    assert again._pairs == PAIRS[:5] or [p.clean for p in again._pairs] == [p.clean for p in PAIRS[:5]]


def test_the_static_copy_tells_edges_with_intervals_and_escapes():
    made = view()
    made.edge = "input->logits"
    made.judge(wait=True)
    page = made._static()
    assert "-&gt;" in page and "<script>" not in page and "6 pairs" in page and "Faithfulness on 6 pairs" in page
    assert "No edges had been scored" in view(run=False)._static()


def test_the_code_computes_it_again_and_is_python():
    made = view()
    made.edge = "input->logits"
    assert made.wait(SECONDS)
    compile(made.code, "code", "exec")
    assert "method=\"exact\", edges=['input->logits']" in made.code and "found.circuit(" in made.code


def test_a_page_may_send_anything():
    made = view()
    for message in ({"type": "run", "fields": {"method": 3, "shown": "x"}}, {"type": "judge", "fields": []}, 3, None):
        made._on_message(made, message, [])
    assert made.wait(SECONDS) and made.status == "complete" and made.method == "inputs"
    for shown in (-5, 0, 10**9):
        made.shown = shown
        assert made.wait(SECONDS) and 1 <= made.kept["n"] <= made.graph["most"]


def test_scores_that_are_all_nothing_are_counted_without_a_share():
    edges = FakeEdges(scores=np.zeros(Graph(2, 2, 2, 8).exists.shape), graph=Graph(2, 2, 2, 8))
    made = view(PAIRS[:1], edges=edges)
    assert made.kept["share"] == 0 and made.status == "complete"


def test_a_run_between_two_pairs_is_told_whole():
    found = FakeEdges()(None, PAIRS)
    part = found.copy(deep=True)
    part["effect"][4:] = np.nan
    assert work.whole(Edges.of(part)).sizes["prompt"] == 4 and work.whole(found) is found


def by_token(**options):
    made = view(**options)
    made.by = "position"
    assert made.wait(SECONDS)
    return made


def test_by_token_the_scores_of_the_pair_shown_are_taken_summed_over_heads_and_published():
    edges = FakeEdges()
    made = by_token(edges=edges)
    assert edges.calls[-1] == ("inputs", 1, "position", None), "one pair, when it is looked at"
    columns, graph = made.columns, edges.graph
    assert (columns["status"], columns["pair"], columns["positions"], columns["layers"]) == ("ready", 0, 4, 3)
    assert columns["tokens"] == ["a", " d", " b", " c"]
    scores, each = np.frombuffer(columns["scores"], "<f4").reshape(4, -1), Graph(3, 1, 1, 8)
    at = np.full((4, *each.exists.shape), np.nan)
    at[:, each.exists] = scores
    of = [i for i, name in enumerate(graph.readers) if name.startswith("a2.") and name.endswith("<q>")]
    heads = [i for i, name in enumerate(graph.writers) if name.startswith("a1.")]
    truth = edges.values(1, "inputs")[0]
    wanted = truth[np.ix_(of, heads)].sum()
    np.testing.assert_allclose(at[:, 8, 3], [0.25 * wanted, 0, 0, 0.75 * wanted], rtol=1e-4)
    assert np.isnan(at[:-1, -1]).all() and np.isfinite(at[-1, -1]).all(), "the logits read the last token alone"
    assert columns["edges"] == columns["scored"] == np.isfinite(scores).sum()
    asked = len(edges.calls)
    made.pair = 2
    assert made.wait(SECONDS) and made.columns["pair"] == 2 and made.columns["tokens"][1] == " f"
    assert len(edges.calls) == asked + 1
    compile(made.code, "code", "exec")
    assert "pairs[2]" in made.code and 'by="position"' in made.code


def test_an_edge_at_a_token_is_told_with_the_exact_effects_of_the_largest_inside_it():
    edges = FakeEdges()
    made = by_token(edges=edges)
    made.edge = "a0->a2<v>@3"
    assert made.wait(SECONDS)
    detail, graph = made.detail, edges.graph
    inside = [(r, w) for r, w in np.argwhere(graph.exists) if graph.writers[w].startswith("a0.")
              and graph.readers[r] in ("a2.kv0<v>", "a2.kv1<v>")]  # fmt: skip
    truth = {graph.name(r, w): edges.values(1, "exact")[0, r, w] for r, w in inside}
    largest = sorted(truth, key=lambda name: -abs(truth[name]))[:3]
    assert detail["status"] == "ready" and detail["n_single"] == len(inside) == 8 and detail["token"] == " c"
    assert [part["edge"] for part in detail["parts"]] == largest
    assert edges.calls[-1] == ("exact", 1, "position", largest)
    for part in detail["parts"]:
        assert part["exact"] == pytest.approx(0.75 * truth[part["edge"]], rel=1e-4)
        assert part["score"] == pytest.approx(1.1 * part["exact"], rel=1e-4)
    assert detail["score"]["mean"] == pytest.approx(1.1 * 0.75 * sum(truth.values()), rel=1e-4)
    assert 1 <= detail["rank"] <= detail["of"] == made.columns["scored"]
    made.by = "head"
    assert made.wait(SECONDS) and made.edge == "" and made.detail == {}


@pytest.mark.parametrize("name", ["a0->a2<v>@9", "a0->logits@0", "a0.h1->m2@1", "a2->m0@1", "a0->m1"])
def test_an_edge_that_is_at_no_token_is_told(name):
    made = by_token()
    made.edge = name
    assert made.wait(SECONDS)
    assert made.detail["status"] == "error" and repr(name) in made.detail["text"]


def test_tokens_that_cannot_be_scored_are_told_and_a_new_run_scores_them():
    edges = FakeEdges()
    made = view(edges=edges)
    edges.error = CircuitError("model: was changed")
    made.by = "position"
    assert made.wait(SECONDS)
    assert made.columns["status"] == "error" and made.columns["text"] == "model: was changed"
    edges.error = None
    made.run(wait=True)
    assert made.wait(SECONDS) and made.columns["status"] == "ready"
    exact = FakeEdges()(None, PAIRS, method="exact", edges=FakeEdges().graph.exists)
    made = by_token(edges=FakeEdges(), pairs=None, result=exact, run=False)
    assert made.columns["status"] == "error" and "this result has exact effects" in made.columns["text"]


def test_a_mean_is_taken_over_all_pairs_for_the_tokens_of_one():
    edges = FakeEdges()
    made = view(edges=edges, ablation="mean")
    made.set_state({"by": "position", "pair": 1})
    assert made.wait(SECONDS) and made.columns["pair"] == 1 and made.columns["tokens"][1] == " e"
    assert edges.calls[-1] == ("inputs", len(PAIRS), "position", None)


def test_a_saved_state_by_token_comes_back(tmp_path):
    edges = FakeEdges()
    made = by_token(edges=edges)
    made.set_state({"node": "m1@3", "edge": "input->m1@3"})
    assert made.wait(SECONDS)
    again = widgets.restore(
        made.save_state(tmp_path / "x.json"), fakes.FakeModel(3, 4), _edges=edges, _faithfulness=FakeFaithfulness(),
        _encode=fakes.encode,
    )  # fmt: skip
    assert again.wait(SECONDS)
    for name in ("by", "columns", "node", "edge", "detail", "code"):
        assert getattr(again, name) == getattr(made, name), name


def test_exact_effects_at_a_token_are_run_by_a_model_whose_scores_took_steps():
    made = widgets.CircuitView(speaking("llama"), Pair("w3 w5 w9", corrupted="w3 w7 w9", answer=" w11", foil=" w23"))
    made.run(wait=True)
    made.by = "position"
    assert made.wait(SECONDS)
    made.edge = "a0->m1@2"
    assert made.wait(SECONDS) and made.detail["status"] == "ready", made.detail
    assert all(np.isfinite(part["exact"]) for part in made.detail["parts"])
