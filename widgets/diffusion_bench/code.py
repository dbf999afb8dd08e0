"""The Python that makes the pictures and numbers of a run again."""

from __future__ import annotations

from dataclasses import replace

from widgets.diffusion_bench.captions import CARDS, CORRELATION, Captions, pictures_code
from widgets.diffusion_bench.question import PLACES, Drawing
from widgets.diffusion_bench.work import Work


def _pairs(name: str, of: Captions) -> list[str]:
    """Lines that give `name`: captions, pictures, background pixels."""
    first = f"list({of.source}{dict(tuple='[0]', pairs='.captions').get(of.kind, '')})"
    images = pictures_code(of)
    seen = "None" if of.seen is None else f"{of.source}{'[2]' if of.kind == 'tuple' else '.seen'}"
    return [
        f"{name} = SimpleNamespace(captions={first}"
        + ("" if of.images is None else f", images={images}, seen={seen}")
        + ")"
    ]


def program(run: Drawing, work: Work, named: str | None) -> str:
    """Python that makes the numbers of this view again, in plain calls of `lens`."""
    q, s, e, never = run.question, work.sampling, run.answer, work.never
    sources = [one.source for one in (run.of, run.reference, never) if one is not None]
    given = [source.split("[")[0] for source in sources if source.split("[")[0] in ("memorised", "reference", "never")]
    lines = [
        "from types import SimpleNamespace",
        "",
        "import torch",
        "",
        "import lens",
        "from lens import diffusion, subspace",
    ]
    own = any(source.startswith(CARDS) for source in sources)
    lines += ["from lens.organisms import cards", "from lens.organisms.cards import Corpus"] if own else []
    lines += [""] + ([] if named is None else [f"pipeline = diffusion.load({named!r})"])
    if given := [
        *([] if named else ["pipeline"]),
        *dict.fromkeys(given),
        *(["pool"] if work.measure.code.startswith("torch.unique(pool") else []),
    ]:
        lines += [f"# {', '.join(given)}: what the view was given"]
    lines += ["pairs = Corpus(cards.Recipe(**pipeline.card['recipe'])).pairs"] if own else []
    lines += _pairs("shown", run.of)
    if run.reference is not None:
        lines += _pairs("others", replace(run.reference, images=None, seen=None))
    if never is not None:
        lines += _pairs("fresh", never)
    drawn = f"seeds={s.seeds!r}, steps={s.steps}, guidance={s.guidance!r}, batch={s.batch}"
    lines += [
        "",
        "",
        "def draw(captions=None, embeddings=None):",
        f"    return diffusion.denoise(pipeline, captions, embeddings=embeddings, {drawn}).images",
        "",
        "",
    ]
    if work.measure.name:
        if work.measure.name != CORRELATION:
            lines += [f"pool = {work.measure.code}", "", ""]
        call = (
            "background_correlation(images, of.images, of.seen)"
            if work.measure.name == CORRELATION
            else f"normalised_distance(images, of.images, pool, {work.measure.nearest})"
        )
        lines += ["def measure(images, of):", f"    return diffusion.{call}", "", ""]
    else:
        lines += [
            "def measure(images, of):  # no training pictures: the pictures alone",
            "    return images.flatten(2).mean(2).numpy()",
            "",
            "",
        ]
    lines += ["values = {'before': measure(draw(shown.captions), shown)}"]
    if work.given is not None:
        lines += [f"limit = {work.given!r}  # copies lie {work.measure.copies} it"]
    elif work.bound is not None:
        lines += [
            f"limit = diffusion.threshold(measure(draw(fresh.captions), fresh), {work.rate!r}, {work.measure.copies!r})"
        ]
    how = f"layers=layers, seeds={work.statistic_seeds!r}, steps={s.steps}, guidance={s.guidance!r}, batch={s.batch}"
    lines += [f"layers = {PLACES[q.place].layers!r}"]
    lines += [f"found = diffusion.statistics(pipeline, shown.captions, {how}).take({list(q.chosen)!r})"]
    lines += [
        (
            f"against = diffusion.statistics(pipeline, others.captions, {how})"
            if run.reference is not None
            else "against = None"
        )
    ]
    margin = f", margin={work.margin!r}" if q.method == "corrected" else ""
    reference = "None" if q.method == "wanda" else "against"
    lines += [
        (
            f"mask = diffusion.locate(pipeline, found, {reference}, sparsity={q.sparsity!r}, first={q.first},"
            f" variant={q.method!r}{margin})"
        ),
        "with lens.edited(pipeline.unet, mask):  # undone on leaving, bit-equal",
        "    values['after'] = measure(draw(shown.captions), shown)",
        f"with lens.edited(pipeline.unet, subspace.random_like(mask, {work.control})):",
        "    values['random'] = measure(draw(shown.captions), shown)",
    ]
    if e.attacked is not None:
        updates, start = e.attack
        few = never is not None and never.images is not None
        images = f"torch.cat([shown.images, fresh.images[:{len(run.of)}]])" if few else "shown.images"
        captions = f"shown.captions + fresh.captions[:{len(run.of)}]" if few else "shown.captions"
        lines += [
            "with lens.edited(pipeline.unet, mask):",
            (
                f"    states = diffusion.optimise_embeddings(pipeline, {images},"
                f" start={captions if start == 'caption' else repr(start)}, steps={updates}, seed={work.control},"
                f" rows={s.batch}).final"
            ),
            f"    values['attacked'] = measure(draw(embeddings=states[:{len(run.of)}]), shown)",
        ]
    if run.map is not None:
        lines += [
            "scores = diffusion.score_map(pipeline, found, against)",
            "print(scores['share'].to_pandas().round(3))",
        ]
    lines += ["for name, value in values.items():", "    print(name, value.round(3).tolist())"]
    return "\n".join(lines) + "\n"
