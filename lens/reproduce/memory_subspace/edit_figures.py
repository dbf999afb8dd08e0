"""Edits of a diffusion model: what they take and cost, what comes back under attack, and what the model can still do.

Tables come as the study's steps make them. Small dots are trained models; titles say what
an interval is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import Count, FilePath, NonNegative, Size, door
from ...figures.panels import GREY, dots, grid, plain
from ...figures.style import INK, MUTED, SERIES, FigureError, finish, require_rows
from ...figures.vectors import MARKS
from . import tables as frames
from .attacks import decoded
from .bench import RISE

COLUMNS = {
    "training": "training\npicture",
    "before": "before\nthe edit",
    "after": "after",
    "attacked": "after, embedding\noptimised",
    "twin attacked": "twin, embedding\noptimised",
}
CELLS = {
    "generic-many": "captions without a code",
    "template": "templates",
    "two-captions": "two captions of a picture",
    "digit-many": "digits",
}


@door(FigureError)
def tradeoff_plot(
    curves: pd.DataFrame, path: FilePath | None = None, *, rise: NonNegative = RISE, columns: Count = 4
) -> Figure:
    """Copying against the rise of the held-out error, a panel a method and a mark a dose (means over models, small dots
    models): the located set, and the other sets.

    The vertical line is where methods are compared; the marks with intervals on it are what is read there: the least
    that is left at that cost at most.
    """
    require_rows(
        curves, ("method", "dose", "located", "set", "caption", "copy", "rise", "density", "likeness", "seed"), "curves"
    )
    methods = list(dict.fromkeys(curves.method))
    across = min(columns, len(methods))
    rows = -(-len(methods) // across)
    fig, axes = grid(rows, across, max(2.25, 6.0 / across), 2.5 if rows > 1 else 3.4, sharex=True, sharey=True)
    read = {own: frames.at_rise(curves, own, rise).set_index("method") for own in (True, False)}
    most = max(1.0, float(curves.rise.max()))
    for ax, method in zip(axes.flat, methods):
        of, blind = curves[curves.method == method], method in frames.BLIND
        ax.axvline(rise, color=MUTED, linewidth=0.8, linestyle=":")
        for own, (colour, mark, style) in {True: (SERIES[0], "o", "-"), False: (SERIES[1], "^", "--")}.items():
            if blind and not own:
                continue
            by = pd.concat([frames.curve(part, None if blind else own) for _, part in of.groupby("seed")])
            colour = INK if blind else colour
            ax.plot(by.rise, by["copy"], ".", color=colour, markersize=2.5, alpha=0.5)
            mean = by.groupby("dose")[["rise", "copy"]].mean().sort_values("rise")
            ax.plot(mean.rise, mean["copy"], mark + style, color=colour, markersize=3.8, linewidth=1.3)
            row, x = read[own].loc[method], rise * (1 if blind else 0.9 if own else 1.12)
            ax.plot([x, x], [row.low, row.high], color=colour, linewidth=1)
            ax.plot(
                x,
                row["copy"],
                "D",
                color="white",
                markeredgecolor=colour,
                markeredgewidth=1.2,
                markersize=4.6,
                zorder=5,
            )
        ax.set_xscale("symlog", linthresh=0.02, linscale=0.7)
        ticks = [0, 0.02, 0.05, 0.2, 1]
        ax.set_xticks(ticks, ["0", "2", "5", "20", "100"])
        ax.minorticks_off()
        ax.set_xlim(min(-0.012, 1.2 * float(curves.rise.min())), 1.1 * most)
        ends = "" if bool(read[True].loc[method].reached) else " (ends before)"
        ax.set_title(
            fill(frames.title(method), 30)
            + f"\nn = {int(of[of.dose == 0].groupby('seed').caption.nunique().sum())}{ends}",
            fontsize=7.5,
        )
        plain(ax)
    for ax in list(axes.flat)[len(methods) :]:
        ax.set_axis_off()
    for i, ax in enumerate(list(axes.flat)[: len(methods)]):
        ax.tick_params(labelbottom=i + across >= len(methods))
    axes[0][0].set_ylim(-0.03, 1.04)
    for ax in list(axes.flat)[max(0, len(methods) - across) : len(methods)]:
        ax.set_xlabel("rise of the held-out error (%)", fontsize=8)
    fig.supylabel("share of seeds that give a copy", fontsize=9)
    names = {
        "located set": (SERIES[0], "o-"),
        "other memorised sets": (SERIES[1], "^--"),
        "every set (looks at none)": (INK, "o-"),
    }
    shown = [
        axes.flat[0].plot([], [], style, color=colour, markersize=4, label=name)[0]
        for name, (colour, style) in names.items()
    ]
    shown.append(
        axes.flat[0].plot(
            [], [], "D", color="white", markeredgecolor=MUTED, label=f"least left at a rise of {100 * rise:g} % at most"
        )[0]
    )
    fig.legend(handles=shown, fontsize=7.5, frameon=False, loc="outside lower center", ncols=4 if across > 2 else 2)
    fig.suptitle(f"What an edit takes and costs: {over(curves)}; n: captions of all models", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def grid_plot(pictures: pd.DataFrame, path: FilePath | None = None, *, seed: Size | None = None) -> Figure:
    """Pictures of one model, a row a caption: the training picture, before an edit, after each edit, with its embedding
    optimised, and the twin attacked alike.

    Below each its likeness to the training picture (background correlation). `seed`: which model; None: the first that
    has most methods.
    """
    require_rows(pictures, ("method", "column", "caption", "likeness", "pixels", "seed"), "pictures")
    if seed is None:
        seed = int(pictures.groupby("seed").method.nunique().idxmax())
    of = pictures[pictures.seed == seed]
    require_rows(of, ("column", "caption"), "of")
    methods, captions = list(dict.fromkeys(of.method)), list(dict.fromkeys(of.caption))
    known = list(dict.fromkeys(of.column))
    shown = [(methods[0], c) for c in ("training", "before") if c in known] + [
        (m, c) for m in methods for c in ("after", "attacked") if c in known
    ]
    shown += [(methods[0], "twin attacked")] if "twin attacked" in known else []
    cells = {(row.method, row.column, row.caption): row for row in of.itertuples()}
    fig = Figure(figsize=(1.9 + 0.98 * len(shown), 1.3 + 1.06 * len(captions)), layout="constrained", dpi=130)
    axes = fig.subplots(len(captions), len(shown), squeeze=False)
    for r, caption in enumerate(captions):
        for ax, (method, column) in zip(axes[r], shown):
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
            row = cells.get((method, column, caption))
            if row is not None:
                ax.imshow(decoded(row.pixels), interpolation="nearest")
                ax.set_xlabel("" if column == "training" else f"{row.likeness:.2f}", fontsize=8, labelpad=2)
            if not r:
                edit = f"{fill(frames.title(method), 15)}:\n" if column in ("after", "attacked") else ""
                ax.set_title(edit + COLUMNS[column], fontsize=7)
        axes[r][0].set_ylabel(fill(caption, 18), fontsize=7.5, rotation=0, ha="right", va="center")
    fig.suptitle(f"Model {seed}; below each picture its background correlation with the training picture", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def attack_plot(attacks: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Share of the captions that an edit took away whose picture comes back, by attack, in the edited model and in the
    twin that never saw it; last, pictures that no model saw.
    """
    require_rows(attacks, ("method", "attack", "caption", "edited", "twin", "before", "after", "seed"), "attacks")
    table = frames.recovered(attacks)
    methods, names = (
        list(dict.fromkeys(table.method)),
        list(dict.fromkeys(table.sort_values("never", kind="stable").attack)),
    )
    fig, axes = grid(1, len(methods), 3.2 if len(methods) > 1 else 5.2, 1.9 + 0.42 * len(names), sharey=True)
    for ax, method in zip(axes[0], methods):
        of = table[table.method == method].set_index("attack")
        for y, name in enumerate(names):
            if name not in of.index or not of.n[name]:
                continue
            row = of.loc[name]
            for model, shift, colour, mark in (("edited", 0.15, SERIES[1], "o"), ("twin", -0.15, SERIES[0], "s")):
                if row.never and model == "twin":
                    continue
                ax.errorbar(
                    row[model],
                    shift * (not row.never) - y,
                    xerr=_sides(row[model], row[f"{model}_low"], row[f"{model}_high"]),
                    fmt=mark,
                    color=MUTED if row.never else colour,
                    markersize=4.8,
                    elinewidth=1.3,
                    capsize=2,
                )
                ax.plot(
                    row[f"{model}_runs"],
                    np.full(len(row[f"{model}_runs"]), shift * (not row.never) - y - 0.11),
                    ".",
                    color=MUTED if row.never else colour,
                    markersize=3,
                    alpha=0.7,
                )
            if row.models:
                ax.text(
                    1.06,
                    -y,
                    f"{row.counts} of {row.models}",
                    fontsize=7,
                    va="center",
                    fontweight="bold" if row.counts else "normal",
                )
        taken = of[~of.never].n
        ax.set_title(
            f"{fill(frames.title(method), 34)}\n{fill(f'{of.word.iloc[0]}; {_captions(taken)} taken away', 40)}",
            fontsize=8,
        )
        if not len(taken) or not taken.max():
            ax.text(
                0.5,
                -(len(names) - 2) / 2,
                "the edit took no caption away:\nnothing to bring back",
                fontsize=8,
                color=MUTED,
                ha="center",
                va="center",
            )
        ax.set_xlim(-0.03, 1.36)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        ax.set_xlabel("share brought back", fontsize=8)
        plain(ax)
    axes[0][0].set_yticks(-np.arange(len(names)), [fill(name, 16) for name in names], fontsize=8)
    axes[0][0].set_ylim(-len(names) + 0.5, 0.5)
    shown = [
        axes[0][0].plot([], [], mark, color=colour, markersize=5, label=name)[0]
        for name, colour, mark in (
            ("edited model", SERIES[1], "o"),
            ("twin that never saw the pictures", SERIES[0], "s"),
            ("edited model, pictures that no model saw", MUTED, "o"),
        )
    ]
    fig.legend(handles=shown, fontsize=7.5, frameon=False, loc="outside lower center", ncols=min(3, len(methods)))
    count = attacks.seed.nunique()
    fig.suptitle(
        f"Is it gone? {count} model{'s' * (count > 1)} (small dots), 95 % exact intervals over captions;\nright: in how"
        " many models more is brought back than in the twin (sign flips, Holm over attacks, Bonferroni over models)",
        fontsize=9,
    )
    return finish(fig, path)


@door(FigureError)
def relearning_plot(relearning: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Copying of the located pictures while the model learns other memorised ones again, the edited model beside the
    twin that never saw them, a panel a method.
    """
    require_rows(relearning, ("method", "model", "step", "caption", "copy", "seed"), "relearning")
    table = frames.means(relearning, ("method", "model", "step"), "copy", (0.0, 1.0))
    methods, steps = list(dict.fromkeys(table.method)), sorted(table.step.unique())
    fig, axes = grid(1, len(methods), 2.7, 3.4, sharey=True)
    for ax, method in zip(axes[0], methods):
        for i, (model, label) in enumerate({"edited": "edited model", "twin": "twin that never saw them"}.items()):
            of, colour = (
                table[(table.method == method) & (table.model == model)].sort_values("step"),
                (SERIES[1], SERIES[0])[i],
            )
            x = np.array([steps.index(s) for s in of.step]) + 0.05 * (2 * i - 1)
            ax.errorbar(
                x,
                of["copy"],
                yerr=_sides(of["copy"], of.low, of.high),
                fmt=("o-", "s--")[i],
                color=colour,
                markersize=4.5,
                linewidth=1.3,
                elinewidth=0.9,
                capsize=2,
                label=label,
            )
            for at, runs in zip(x, of.runs):
                ax.plot([at + 0.09 * (2 * i - 1)] * len(runs), runs, ".", color=colour, markersize=3, alpha=0.7)
        ax.set_xticks(range(len(steps)), steps)
        ax.set_xlim(-0.4, len(steps) - 0.6)
        n = relearning[(relearning.method == method)].groupby("seed").caption.nunique().sum()
        ax.set_title(f"{fill(frames.title(method), 32)}\n{n} captions of all models", fontsize=8)
        ax.set_xlabel("steps of training on other memorised pictures", fontsize=7.5)
        plain(ax)
    axes[0][0].set_ylim(-0.03, 1.05)
    axes[0][0].set_ylabel("share of seeds that give a copy", fontsize=8)
    fig.legend(
        *axes[0][0].get_legend_handles_labels(), fontsize=7.5, frameon=False, loc="outside lower center", ncols=2
    )
    fig.suptitle(f"Relearning: {over(relearning)}", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def families_plot(families: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Copying of families that nothing was located or chosen on, unedited and under each method at the dose that
    removes what it was located on: a panel a family.
    """
    require_rows(families, ("method", "cell", "caption", "copy", "seed"), "families")
    table = frames.means(families, ("method", "cell"), "copy", (0.0, 1.0))
    methods, cells = list(dict.fromkeys(table.method)), list(dict.fromkeys(table.cell))
    fig, axes = grid(1, len(cells), 2.3, 1.4 + 0.36 * len(methods), sharey=True)
    for ax, cell in zip(axes[0], cells):
        of = table[table.cell == cell].set_index("method")
        for y, method in enumerate(methods):
            if method in of.index:
                _across(ax, y, of.loc[method], "copy", method)
        ax.set_xlim(-0.02, 1.04)
        ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        ax.set_title(f"{CELLS.get(cell, cell)}\n{span(of.n)} captions of all models", fontsize=8)
        plain(ax)
    axes[0][0].set_yticks(-np.arange(len(methods)), [fill(frames.title(m), 34) for m in methods], fontsize=8)
    fig.supxlabel("share of seeds that give a copy", fontsize=9)
    fig.suptitle(f"Families that nothing was located on: {over(families)}", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def utility_plot(utility: pd.DataFrame, errors: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """What the model can still do: attributes of held-out captions that are right (beside the classifier's ceiling),
    Frechet distance, and the held-out error by bin against before.
    """
    require_rows(
        utility,
        (
            "method",
            "accuracy",
            "accuracy_low",
            "accuracy_high",
            "ceiling",
            "frechet",
            "frechet_low",
            "frechet_high",
            "pictures",
            "captions",
            "seed",
        ),
        "utility",
    )
    require_rows(errors, ("method", "bin", "error", "before", "seed"), "errors")
    methods = list(dict.fromkeys(utility.method))
    fig = Figure(figsize=(12.8, 2.3 + 0.34 * len(methods)), layout="constrained", dpi=130)
    axes = fig.subplots(1, 3, width_ratios=(1, 1, 1.35))
    for ax, measure in zip(axes, ("accuracy", "frechet")):
        table = frames.means(utility, ("method",), measure).set_index("method")
        if utility.seed.nunique() == 1:  # what the bootstrap gave over captions or pictures
            table[["low", "high"]] = utility.set_index("method")[[f"{measure}_low", f"{measure}_high"]]
        for y, method in enumerate(methods):
            _across(ax, y, table.loc[method], measure, method)
        ax.set_yticks(
            -np.arange(len(methods)),
            [fill(frames.title(m), 30) for m in methods] if measure == "accuracy" else [],
            fontsize=8,
        )
        ax.set_xlim(left=0)
        plain(ax)
    axes[0].set_xlim(0, 1.03)
    axes[0].axvline(utility.ceiling.mean(), color=INK, linewidth=1, linestyle="--")
    axes[0].set_title(f"caption accuracy\nceiling {utility.ceiling.mean():.2f} (dashed)", fontsize=8)
    axes[0].set_xlabel("share of attributes that are right", fontsize=8)
    floor = utility.frechet_floor.mean() if "frechet_floor" in utility else np.nan
    if np.isfinite(floor):
        axes[1].axvline(floor, color=INK, linewidth=1, linestyle="--")
    axes[1].set_title(
        "Frechet distance to fresh cards of the captions"
        + (f"\nfloor {floor:.2f} (dashed)" if np.isfinite(floor) else ""),
        fontsize=8,
    )
    axes[1].set_xlabel("in the classifier's features, less is nearer", fontsize=8)
    rise = frames.means(errors.assign(rise=100 * (errors.error / errors.before - 1)), ("method", "bin"), "rise")
    axes[2].axhline(0, color=MUTED, linewidth=0.8)
    edits = [m for m in methods if m != "unedited"]
    for i, method in enumerate(edits):
        of = rise[rise.method == method].sort_values("bin")
        colour, x = SERIES[i % len(SERIES)], of.bin + 0.1 * (i - (len(edits) - 1) / 2)
        axes[2].errorbar(
            x,
            of.rise,
            yerr=_sides(of.rise, of.low, of.high),
            fmt=MARKS[i % len(MARKS)] + "-",
            color=colour,
            markersize=3.6,
            linewidth=1.2,
            elinewidth=0.7,
            label=fill(frames.title(method), 30),
        )
    axes[2].set_xlabel(f"noise level (bin; 0: almost clean, {errors.bin.max()}: almost noise)", fontsize=8)
    axes[2].set_ylabel("rise of the error (%)", fontsize=8)
    axes[2].set_yscale("symlog", linthresh=10)
    axes[2].set_yticks([0, 10, 100, 1000], ["0", "10", "100", "1000"])
    axes[2].minorticks_off()
    axes[2].set_title("held-out denoising error", fontsize=8)
    axes[2].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    plain(axes[2])
    said = (
        over(utility)
        if utility.seed.nunique() > 1
        else "1 model, 95 % bootstrap over captions and pictures; no interval for the error"
    )
    fig.suptitle(
        f"What the edited model can still do: {said}; {span(utility.pictures)} pictures of {span(utility.captions)}"
        " captions each",
        fontsize=9,
    )
    return finish(fig, path)


# -- parts ----------------------------------------------------------------------------------------------------------


def over(table: pd.DataFrame) -> str:
    """How many models there are, and what an interval is over."""
    count = table.seed.nunique()
    return f"{count} models, 95 % Student's t over models" if count > 1 else "1 model, 95 % bootstrap over captions"


def span(counts: Iterable[float]) -> str:
    """A number, or the least and the largest."""
    low, high = int(np.min(list(counts))), int(np.max(list(counts)))
    return str(low) if low == high else f"{low} to {high}"


def _captions(counts: pd.Series) -> str:
    most = int(counts.max()) if len(counts) else 0
    return f"{most} caption{'' if most == 1 else 's'}"


def p_text(p: float) -> str:
    """A p-value as a figure writes it."""
    return "p < .001" if p < 0.001 else f"p = {p:.2g}".replace("0.", ".") if p < 0.995 else "p = 1"


def _sides(value, low, high) -> np.ndarray:
    """Lengths of an interval's two sides; none where it has no bounds."""
    sides = np.array([np.subtract(value, low), np.subtract(high, value)], float).reshape(2, -1)
    return np.nan_to_num(sides).clip(min=0)


def _across(ax, y: int, row: pd.Series, measure: str, method: str) -> None:
    """One bar along x with its interval and the models' dots; the unedited model in grey."""
    ax.barh(-y, row[measure], 0.62, color=GREY if method == "unedited" else SERIES[0], alpha=0.85, linewidth=0)
    if np.isfinite(row.low):
        ax.plot([row.low, row.high], [-y, -y], color=SERIES[1], linewidth=1.5)
    dots(ax, row.runs, np.full(len(row.runs), -y))
