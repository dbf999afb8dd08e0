"""The diffusion bench's state without a browser: what is drawn, located, attacked, cached, stopped, refused, put in
force and undone; its numbers beside plain calls of `lens.diffusion`.
"""

import io
import threading
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import lens
import widgets
from lens import diffusion, subspace
from lens.diffusion import DiffusionError
from lens.organisms import cards
from lens.organisms.cards.corpus import Corpus
from tests.diffusion.conftest import pipeline_of
from tests.variants import few
from tests.widgets.fakes import SCRIPT, without_last_inputs
from widgets.diffusion_bench import captions as diffusion_captions
from widgets.diffusion_bench import work as diffusion_work

SECONDS, STEPS = 120, 4
RECIPE = cards.Recipe.small(seed=3)
PAIRS = Corpus(RECIPE).pairs
KNOWN, FRESH = PAIRS.of("code-many", 0), PAIRS.of("code-never")
OTHERS = list(PAIRS.of("held-out").captions[:5])
HOW = {"seeds": (10,), "steps": STEPS, "guidance": 3.0}


def weights(pipeline):
    return torch.cat([p.detach().flatten() for p in pipeline.unet.parameters()]).clone()


def bench(pipeline=None, memorised=None, reference=None, **options):
    view = widgets.DiffusionBench(
        pipeline or pipeline_of(RECIPE),
        memorised if memorised is not None else {"known": KNOWN},
        reference if reference is not None else {"others": OTHERS},
        **({"never": FRESH, "steps": STEPS, "first": 2, "sparsity": 0.1} | options),
    )
    assert view.wait(SECONDS)
    return view


def ask(view, kind="run", **fields):
    view._on_message(view, {"type": kind, "fields": fields}, [])
    assert view.wait(SECONDS)
    return view


def located(pipeline, chosen=range(4), reference=OTHERS, **options):
    how = {"seeds": (0, 1), "steps": STEPS, "guidance": 3.0}
    found, against = (
        diffusion.statistics(pipeline, KNOWN.captions, **how).take(list(chosen)),
        diffusion.statistics(pipeline, reference, **how),
    )
    return (
        found,
        against,
        diffusion.locate(pipeline, found, against, **({"sparsity": 0.1, "first": 2, "variant": "published"} | options)),
    )


def drawn(pipeline, of=KNOWN, **given):
    images = diffusion.denoise(pipeline, **(given or {"captions": of.captions}), **HOW).images
    return images, diffusion.background_correlation(images, of.images, of.seen)


def files(state):
    ends = np.cumsum(state["sizes"])
    return [state["data"][end - size : end] for end, size in zip(ends, state["sizes"])]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A view with its pictures, for those who only look at it or save it."""
    with pytest.MonkeyPatch.context() as patch:
        without_last_inputs(tmp_path_factory, patch)
        yield ask(bench())


@pytest.fixture
def counted(monkeypatch):
    """How often pictures are drawn and statistics run."""
    calls = {"draw": 0, "statistics": 0}
    for name, module in (("draw", diffusion_work), ("statistics", diffusion)):
        kept = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, kept=kept, name=name, **k: calls.update({name: calls[name] + 1}) or kept(*a, **k)
        )
    return calls


# --- the numbers


def test_pictures_measures_mask_and_map_are_those_of_plain_calls():
    pipeline = pipeline_of(RECIPE)
    view = ask(bench(pipeline))
    assert view.status == "complete", view.error
    found, against, mask = located(pipeline)
    images, before = drawn(pipeline)
    with mask.applied(pipeline.unet):
        _, after = drawn(pipeline)
    with subspace.random_like(mask, 0).applied(pipeline.unet):
        _, random = drawn(pipeline)
    for state, values in (("before", before), ("after", after), ("random", random)):
        np.testing.assert_allclose(view.result.value.sel(state=state).values, values, atol=1e-5)
        np.testing.assert_allclose(np.array(getattr(view, state)["values"]).reshape(STEPS, 4, 1)[-1], values, atol=1e-5)
    assert (
        view.mask().iou(mask) == 1
        and view.edit["weights"] == mask.count
        and view.edit["layers"] == pytest.approx(list(mask.densities().values()))
    )
    bound = diffusion.threshold(drawn(pipeline, FRESH)[1], 0.05)
    assert (
        view.limit["value"] == pytest.approx(bound.value, abs=1e-5)
        and f"above {bound.value:.2f}" in view.limit["text"]
        and f"of {bound.captions} such captions, {bound.beyond} of {bound.n} pictures" in view.limit["text"]
    )
    assert (
        view.before["copied"] == bound.of(before).ravel().tolist()
        and view.before["groups"][0]["copies"] == bound.of(before).sum()
    )
    exact = diffusion.rate(bound.of(after))
    assert (view.after["groups"][0]["low"], view.after["groups"][0]["high"]) == pytest.approx((exact.low, exact.high))
    expected = diffusion.score_map(pipeline, found, against)
    np.testing.assert_allclose(
        np.frombuffer(view.scores["share"], "<f4").reshape(-1, STEPS), expected.share.values.T, rtol=1e-5
    )
    np.testing.assert_allclose(
        np.frombuffer(view.scores["largest"], "<f4").reshape(-1, STEPS), expected.largest.values.T, rtol=1e-3
    )
    assert (
        view.score_map.share.equals(expected.share)
        and view.scores["short"][0] == "down 0.0"
        and view.scores["short"][-1].startswith("up ")
    )
    last = files(view.before)[-4:]
    for file, image in zip(last, images[:, 0]):
        np.testing.assert_allclose(
            np.asarray(Image.open(io.BytesIO(file))).transpose(2, 0, 1) / 127.5 - 1, image.numpy(), atol=1 / 127
        )


def test_each_step_is_shown_as_it_is_made(monkeypatch):
    monkeypatch.setattr("widgets.diffusion_bench.showing.PART_SECONDS", 0)
    pipeline, view, seen = pipeline_of(RECIPE), bench(), []
    view.observe(
        lambda change: seen.append(
            (change["new"]["status"], change["new"]["frames"], sum(size > 0 for size in change["new"]["sizes"]))
        ),
        "before",
    )
    ask(view)
    assert seen[:STEPS] == [("running", i + 1, 4 * (i + 1)) for i in range(STEPS)] and seen[-1] == (
        "ready",
        STEPS,
        4 * STEPS,
    )
    steps = []
    diffusion.denoise(pipeline, KNOWN.captions, **HOW, each=lambda step: steps.append(pipeline.decode(step.latents)))
    for at in (0, STEPS - 2):
        one = np.asarray(Image.open(io.BytesIO(files(view.before)[4 * at + 2]))).transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(one, steps[at][2].numpy(), atol=1 / 127)
    np.testing.assert_allclose(
        np.array(view.before["values"]).reshape(STEPS, 4)[1],
        diffusion.background_correlation(steps[1][:, None], KNOWN.images, KNOWN.seen)[:, 0],
        atol=1e-5,
    )


# --- sliders


def test_sliders_cost_no_statistics_and_give_the_mask_of_locate(counted):
    view = ask(bench())
    assert counted == {"draw": 4, "statistics": 2}
    for fields, options in (
        ({"sparsity": 0.2}, {"sparsity": 0.2}),
        ({"first": 4}, {"sparsity": 0.2, "first": 4}),
        ({"chosen": [0, 2]}, {"sparsity": 0.2, "first": 4, "chosen": [0, 2]}),
        (
            {"method": "corrected"},
            {"sparsity": 0.2, "first": 4, "chosen": [0, 2], "variant": "corrected", "margin": 1.0},
        ),
    ):
        before = dict(counted)
        ask(view, "move", **fields)
        assert view.status == "complete", view.error
        assert counted == {"draw": before["draw"] + 2, "statistics": 2}, fields
        mask = located(view.pipeline, **options)[2]
        counted["statistics"] = 2  # those of this test
        assert view.mask().iou(mask) == 1 and view.after["key"] == view._shown.question.fields()
    assert [g["name"] for g in view.after["groups"]] == [
        "located on",
        "not located on",
    ] and view.result.located.values.tolist() == [True, False, True, False]
    before = dict(counted)
    ask(view, "move", method="published", chosen=[0, 1, 2, 3], first=2, sparsity=0.1)
    assert (
        view.status == "complete"
        and counted == before
        and view.edit["text"] == "feed-forward, published, sparsity 0.1, first 2 steps"
    ), "an edit that was drawn before is shown at once"


def test_the_last_request_wins(monkeypatch):
    view, gate, reached, kept, made = ask(bench()), threading.Event(), threading.Event(), diffusion_work.draw, []

    def slow(*a, **k):
        reached.set()
        assert gate.wait(SECONDS)
        made.append(1)
        return kept(*a, **k)

    monkeypatch.setattr(diffusion_work, "draw", slow)
    for sparsity in (0.12, 0.15, 0.2):
        view._on_message(view, {"type": "move", "fields": {"sparsity": sparsity}}, [])
        assert reached.wait(SECONDS)
    gate.set()
    assert view.wait(SECONDS)
    assert view.status == "complete" and view.after["key"]["sparsity"] == 0.2 and len(made) == 3, (
        "the first was stopped at once, the second never begun"
    )


def test_before_a_run_a_move_starts_nothing(counted):
    view = ask(bench(), "move", sparsity=0.2)
    assert (
        view.status == "idle"
        and counted == {"draw": 0, "statistics": 0}
        and view.prompts["captions"] == list(KNOWN.captions)
    )


@pytest.mark.long
def test_another_set_is_asked_for_and_the_first_is_still_there(counted):
    view = ask(bench(memorised={"known": KNOWN, "more": PAIRS.of("code-many", 1)}))
    ask(view, "move", memorised="more")
    assert (
        counted["draw"] == 4
        and view.prompts["memorised"] == "more"
        and view.prompts["captions"] == list(PAIRS.of("code-many", 1).captions)
    )
    ask(view)
    assert view.before["memorised"] == "more" and counted["statistics"] == 3 and counted["draw"] == 7, (
        "neither threshold nor reference is made again"
    )
    ask(view, "move", memorised="known")
    assert view.status == "complete" and view.before["memorised"] == "known" and counted["draw"] == 7


@pytest.mark.long
def test_other_weights_are_drawn_anew(counted):
    view = ask(bench())
    with torch.no_grad():
        next(iter(view.pipeline.unet.parameters())).add_(0.01)
    ask(view)
    assert view.status == "complete" and counted == {"draw": 8, "statistics": 4}


# --- stop, failure


def test_a_stop_keeps_what_is_whole_and_the_weights(monkeypatch, counted):
    pipeline = pipeline_of(RECIPE)
    view, before, kept, steps = bench(pipeline), weights(pipeline), diffusion_work.draw, []
    counting = diffusion_work.draw

    def halting(*a, stop, **k):
        def asked():
            steps.append(1)
            if counted["draw"] == 3 and len(steps) > 10:  # within the edited pictures
                view.put()
                view.stop()
            return stop()

        return counting(*a, stop=asked, **k)

    monkeypatch.setattr(diffusion_work, "draw", halting)
    ask(view)
    assert (
        view.status == "stopped"
        and "stopped" in view.progress["text"]
        and list(view.result.state.values) == ["before"]
        and lens.record(view.result)["status"] == "partial"
    )
    assert torch.equal(weights(pipeline), before) and view.before["status"] == "ready"
    assert view.force["state"] == "error" and "being drawn" in view.force["text"]
    monkeypatch.setattr(diffusion_work, "draw", kept)
    ask(view)
    assert (
        view.status == "complete"
        and counted["statistics"] == 2
        and counted["draw"] == 5
        and torch.equal(weights(pipeline), before)
    )


def test_an_exception_in_the_middle_leaves_the_weights(monkeypatch):
    pipeline = pipeline_of(RECIPE)
    view, before, kept = bench(pipeline), weights(pipeline), diffusion_work.draw
    monkeypatch.setattr(
        diffusion_work,
        "draw",
        lambda p, *a, **k: (
            kept(p, *a, **k)
            if torch.equal(weights(p), before)
            else (_ for _ in ()).throw(RuntimeError("the disk is full"))
        ),
    )
    ask(view)
    assert (
        view.status == "error"
        and "disk is full" in view.error["text"]
        and torch.equal(weights(pipeline), before)
        and view.before["status"] == "ready"
    )


# --- an edit by hand


def test_put_and_undo_are_bit_equal():
    pipeline = pipeline_of(RECIPE)
    view, before, digest = bench(pipeline), weights(pipeline), pipeline.hash
    view.put(wait=True)
    assert view.force["state"] == "error" and "no edit is there yet" in view.force["text"]
    ask(view)
    assert pipeline.hash == digest and view.edit["hashes"] == [digest, digest]
    view.put(wait=True)
    assert (
        view.force["state"] == "in force"
        and view.force["before"] == digest != view.force["now"]
        and not torch.equal(weights(pipeline), before)
    )
    ask(view, "move", sparsity=0.2)
    assert view.status == "error" and "undo it first" in view.error["text"] and view.edit["key"]["sparsity"] == 0.1
    view.undo(wait=True)
    assert (
        view.wait(SECONDS)
        and view.force["state"] == "undone"
        and view.force["same"]
        and view.force["now"] == digest
        and torch.equal(weights(pipeline), before)
    )
    assert view.status == "complete" and view.error == {} and view.edit["key"]["sparsity"] == 0.2, (
        "the edit that was asked for meanwhile"
    )
    view.put(wait=True)
    view.close()
    assert torch.equal(weights(pipeline), before), "a view that is closed leaves no edit behind"


# --- the attack


@pytest.mark.long
@pytest.mark.parametrize("start", few(["caption", "empty"], ["caption"]))
def test_the_attack_is_that_of_plain_calls(start, counted):
    pipeline = pipeline_of(RECIPE)
    view = ask(ask(bench(pipeline)), "attack", updates=3, start=start)
    assert view.status == "complete", view.error
    mask = located(pipeline)[2]
    captions = list(KNOWN.captions + FRESH.captions[:4])
    with mask.applied(pipeline.unet):
        found = diffusion.optimise_embeddings(
            pipeline,
            torch.cat([KNOWN.images, FRESH.images[:4]]),
            start=captions if start == "caption" else start,
            steps=3,
            seed=0,
        )
        values = drawn(pipeline, KNOWN, embeddings=found.final[:4])[1]
        control = drawn(pipeline, FRESH.take(range(4)), embeddings=found.final[4:])[1]
    np.testing.assert_allclose(view.result.value.sel(state="attacked").values, values, atol=1e-4)
    assert view.attacked["never"]["mean"] == pytest.approx(control.mean(), abs=1e-4) and view.attacked["attack"] == [
        3,
        start,
    ]
    before = counted["draw"]
    ask(view, "attack")
    assert counted["draw"] == before, "the same attack is not run again"
    ask(view, "move", sparsity=0.2)
    assert view.attacked == {} and list(view.result.state.values) == [
        "before",
        "after",
        "random",
    ], "it was of another edit"


# --- what is refused


def test_sets_that_overlap_are_refused_and_named():
    view = bench(reference={"others": OTHERS, "shared": [KNOWN.captions[1], *OTHERS]})
    assert view.doubts["refused"] == ""
    ask(view, "move", reference="shared")
    assert KNOWN.captions[1] in view.doubts["refused"]
    ask(view)
    assert view.status == "error" and view.error["text"] == view.doubts["refused"] and view.before == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"chosen": []}, "tick at least one"),
        ({"chosen": [9]}, "tick at least one"),
        ({"sparsity": 1.5}, "above 0"),
        ({"first": 0}, "1 to 4"),
        ({"memorised": "x"}, "not there"),
        ({"sparsity": 1e-4}, "less than one"),
    ],
)
def test_questions_that_cannot_be_asked_are_explained(fields, words):
    view = ask(bench(), **fields)
    assert view.status == "error" and words in view.error["text"]


def test_a_mask_without_weights_says_what_to_do():
    view = ask(bench(method="corrected", margin=1e6))
    assert view.status == "error" and "no weight passes" in view.error["text"] and view.before["status"] == "ready"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memorised": {"": KNOWN}}, "cannot be shown"),
        ({"memorised": 3}, "expected captions"),
        ({"memorised": (KNOWN.captions, KNOWN.images[:2])}, "for each caption"),
        ({"method": "magic"}, "is not one of"),
        ({"memorised": ["a word it was never told"]}, "never told"),
        ({"memorised": (KNOWN.captions, KNOWN.images, torch.ones(2, 2))}, "truth values"),
        ({"level": 2}, "between 0 and 1"),
        ({"memorised": (KNOWN.captions[:1], KNOWN.images[:1]), "never": None}, "pool"),
        ({"reference": {"a": [1]}}, "expected captions"),
        ({"steps": 5000}, "expected 1 to"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises((ValueError, DiffusionError), match=words):
        bench(**options)


def test_a_message_cannot_set_what_is_no_field():
    view = bench()
    for message in (
        {"type": "run", "fields": {"before": {"x": 1}, "sparsities": []}},
        {"type": "nothing"},
        "text",
        {"type": "document", "kind": "exe"},
        {"type": "move", "fields": {"method": "magic", "first": "three"}},
    ):
        view._on_message(view, message, [])
        assert view.wait(SECONDS)
    assert view.before.get("x") is None and view.document == {} and view.method == "published" and view.sparsities


# --- other givens


def test_captions_alone_are_drawn_without_a_measure():
    view = ask(bench(memorised=list(KNOWN.captions), never=None, method="wanda"), method="wanda")
    assert view.status == "complete", view.error
    assert (
        view.model_info["measure"] == ""
        and "No training pictures" in view.limit["text"]
        and view.after["values"] == [None] * 4 * STEPS
        and view.after["copied"] == []
    )
    ask(view, "attack")
    assert view.status == "error" and "came without" in view.error["text"]
    assert view._static().count("<img") == 12


def test_without_a_reference_only_wanda_is_asked():
    view = widgets.DiffusionBench(pipeline_of(RECIPE), KNOWN, steps=STEPS, threshold=0.5)
    assert (
        view.method == "wanda"
        and view.reference == ""
        and ask(view).status == "complete"
        and view.scores == {}
        and "threshold that was given" in view.limit["text"]
    )
    ask(view, "move", method="published")
    assert view.status == "error" and "wanda" in view.error["text"]


@pytest.mark.long
def test_without_background_pixels_the_distance_is_measured():
    pipeline, never = pipeline_of(RECIPE), (FRESH.captions, FRESH.images)
    view = ask(bench(pipeline, (KNOWN.captions, KNOWN.images), never=never, seeds=(10, 11)))
    pool = torch.unique(torch.cat([KNOWN.images, FRESH.images]), dim=0)
    images = diffusion.denoise(pipeline, KNOWN.captions, seeds=(10, 11), steps=STEPS).images
    expected = diffusion.normalised_distance(images, KNOWN.images, pool, min(50, len(pool) - 1))
    np.testing.assert_allclose(view.result.value.sel(state="before").values, expected, rtol=1e-5)
    assert (
        view.limit["copies"] == "below"
        and "is below" in view.limit["text"]
        and len(files(view.before)) == STEPS * 8
        and view.before["values"][:8] == [None] * 8
    )


@pytest.mark.long
def test_a_stable_diffusion_pipeline_shows_a_few_steps(tmp_path):
    from tests.diffusion.test_stable_diffusion import parts_in

    pipeline = diffusion.Pipeline.of(parts_in(tmp_path))
    images = torch.rand(2, *pipeline.image_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    view = ask(
        widgets.DiffusionBench(
            pipeline, (["a cat", "the hat"], images), ["the cat", "a hat"], steps=9, first=2, sparsity=0.2, guidance=2.0
        )
    )
    assert view.status == "complete", view.error
    assert (
        view.model_info["steps"] == 10
        and view.model_info["frames"] == [2, 3, 5, 7, 8, 10]
        and len(view.before["sizes"]) == 12
        and view.model_info["measure"] == "normalised distance"
    )
    assert (
        "was not said" in view.limit["text"]
        and view.before["copied"] == []
        and view.scores["short"][0] == "down 0.0"
        and "mid 0" in view.scores["short"][6]
    )


def test_large_pictures_are_sent_small():
    few = diffusion_captions.encoded(torch.rand(2, 3, 512, 512) * 2 - 1)
    assert [Image.open(io.BytesIO(one)).size for one in few] == [(192, 192)] * 2 and few[0][:2] == b"\xff\xd8"


@pytest.mark.long
def test_the_organism_brings_its_own_sets():
    pipeline = pipeline_of(RECIPE)
    pipeline.card.update(name="cards", recipe=asdict(RECIPE))
    view = widgets.DiffusionBench(pipeline, steps=STEPS, first=2, sparsity=0.1)
    assert (
        view.wait(SECONDS)
        and view.prompts["captions"] == list(KNOWN.captions)
        and [name for name, _ in view.names["reference"]] == ["never trained, with code", "the empty caption"]
    )
    ask(view)
    assert view.status == "complete" and "pairs.of('code-many', 0)" in view.code and "# pipeline" in view.code
    with pytest.raises(ValueError, match="only the organism cards"):
        widgets.DiffusionBench(pipeline_of(RECIPE))


# --- what is kept


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "where"),
    few(
        [
            ("pairs", "feed-forward"),
            ("tuple", "feed-forward"),
            ("cards", "feed-forward"),
            ("pairs", "cross-attention"),
            ("cards", "cross-attention"),
        ],
        [("cards", "cross-attention")],
    ),
)
def test_the_python_shown_makes_the_numbers(how, where, capsys):
    pipeline, names = pipeline_of(RECIPE), {}
    if how == "cards":
        pipeline.card.update(name="cards", recipe=asdict(RECIPE))
        view = widgets.DiffusionBench(pipeline, steps=STEPS, first=3, sparsity=0.1, method="corrected", place=where)
    else:
        of = lambda pairs: pairs if how == "pairs" else (list(pairs.captions), pairs.images)  # noqa: E731
        names = {"memorised": {"known": of(KNOWN)}, "reference": OTHERS, "never": of(FRESH)}
        view = widgets.DiffusionBench(pipeline, **names, steps=STEPS, first=3, sparsity=0.1, rate=0.1, place=where)
    view.run(wait=True)
    ask(view, "attack", chosen=[0, 3], updates=2)
    assert view.status == "complete", view.error
    names["pipeline"] = pipeline
    exec(compile(view.code, "view", "exec"), names)
    for state in ("before", "after", "random", "attacked"):
        np.testing.assert_allclose(names["values"][state], view.result.value.sel(state=state).values, atol=1e-4)
    assert float(names["limit"]) == pytest.approx(view.limit["value"], abs=1e-5) and names["mask"].iou(view.mask()) == 1
    np.testing.assert_allclose(names["scores"].share.values, view.score_map.share.values)
    assert set(names["mask"].shapes) == set(
        pipeline.named("*.ff.net.2" if where == "feed-forward" else ("*.attn2.to_k", "*.attn2.to_v"))
    )
    assert "attacked" in capsys.readouterr().out


def test_measures_and_mask_are_saved(asked, tmp_path):
    view = asked
    for name in ("measures.zarr", "measures.csv", "mask.npz"):
        view._on_message(view, {"type": "save", "path": str(tmp_path / name)}, [])
        assert view.wait(SECONDS) and view.saved["ok"], view.saved
    again = lens.open(tmp_path / "measures.zarr")
    assert again.value.equals(view.result.value) and lens.record(again)["call"]["sparsity"] == 0.1
    model = lens.record(again)["model"]
    assert model["hash"] == view.pipeline.unet_hash and model["pipeline"] == view.pipeline.hash
    mask = subspace.Mask.load(tmp_path / "mask.npz")
    assert mask.iou(view.mask()) == 1 and mask.model == view.pipeline.unet_hash
    view._on_message(view, {"type": "document", "kind": "npz"}, [])
    assert view.wait(SECONDS) and view.document["data"][:2] == b"PK"
    for path, words in (("", "is empty"), (str(tmp_path / "mask.npz"), "is there already")):
        view._on_message(view, {"type": "save", "path": path}, [])
        assert view.wait(SECONDS) and not view.saved["ok"] and words in view.saved["text"]


@pytest.mark.long
def test_the_stored_copy_has_every_picture_with_its_words():
    view = bench(memorised={SCRIPT: KNOWN})
    assert "No pictures had been made" in view._static()
    ask(ask(view), "attack", updates=2)
    text = view._static()
    assert (
        SCRIPT not in text
        and "&lt;script&gt;" in text
        and text.count("<img") == text.count('<img alt="') == 20
        and text.count("data:image/png;base64,iVBOR") == 20
    )
    r = view.result.value.sel(state="after", caption=0).item()
    assert (
        f"{KNOWN.captions[0]}, after the edit, r = {r:.2f}".replace("-0.00", "0.00").replace("-", "−") in text
        and "never trained, same attack" in text
    )
    assert len(text) < 120_000 and view._static_bundle()["text/plain"].startswith("<DiffusionBench: cards")


def test_the_module_is_small_and_loads_nothing(asked):
    view = asked
    assert (
        len(view._esm) < 60_000
        and "http://" not in view._esm.replace("http://www.w3.org/2000/svg", "")
        and "https://" not in view._esm
    )
    assert all(isinstance(value, bytes) for value in (view.before["data"], view.scores["share"], view.prompts["data"]))


def test_pairs_of_every_form_are_the_same_captions():
    pipeline = pipeline_of(RECIPE)
    images = [Image.fromarray(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()) for image in KNOWN.images]
    for given, kind in (
        (KNOWN, "pairs"),
        ((KNOWN.captions, KNOWN.images, KNOWN.seen), "tuple"),
        ((KNOWN.captions, images), "tuple"),
        (SimpleNamespace(captions=KNOWN.captions, images=None), "pairs"),
        (list(KNOWN.captions), "captions"),
    ):
        one = diffusion_captions.captions_of(given, pipeline, "x")
        assert one.captions == KNOWN.captions and one.kind == kind
        assert one.images is None or torch.allclose(one.images, KNOWN.images, atol=1 / 127)
