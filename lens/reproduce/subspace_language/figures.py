"""The memory subspace: overlap of masks with its control, trade-off curves, transfer, memory at a known place, and what
comes back.

Tables come as the study's steps make them. Dots are trained models (seeds); bars and lines
say in the title what their interval is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, Filled, NonNegative, door
from ...figures.panels import (
    GREY,
    MARKS,
    bar,
    framed,
    grid,
    legend_beside,
    points,
    slanted,
    spanned,
)
from ...figures.style import INK, MUTED, SERIES, FigureError, finish, require_rows
from ..common import matching, several

PAIRS = {"memorised": "memorised x memorised", "other": "unseen x unseen", "mixed": "memorised x unseen"}


@door(FigureError)
def specificity_plot(table: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """IoU between masks of disjoint sets, by kind of sequence, score and reference: bars are means over seeds, dots
    single seeds, the dashed line is chance.
    """
    require_rows(table, ("kind", "reference", "method", "pair", "mean", "chance", "seed"), "table")
    table = table[table["mean"].notna()]
    cells = list(dict.fromkeys(zip(table.method, table.reference)))
    kinds = list(dict.fromkeys(table.kind))
    fig, (axes,) = grid(1, len(cells), 2.7, 3.1)
    for ax, (method, reference) in zip(axes, cells):
        for j, kind in enumerate(kinds):
            for i, pair in enumerate(PAIRS):
                of = matching(table, method=method, reference=reference, kind=kind, pair=pair)
                label = PAIRS[pair] if j == 0 else None
                bar(ax, j + 0.26 * (i - 1), of["mean"].mean(), 0.24, of["mean"], color=SERIES[i], label=label)
        chance = matching(table, method=method, reference=reference).chance.mean()
        ax.axhline(chance, color=INK, linewidth=0.8, linestyle="--")
        ax.set_xticks(range(len(kinds)), kinds, fontsize=8)
        ax.set_ylim(0, max(0.05, 1.15 * table["mean"].max()))
        framed(ax, title=f"{_score(method)},\nreference: {reference}")
    axes[0].set_ylabel("IoU of masks", fontsize=9)
    axes[-1].legend(fontsize=6.5, frameon=False, loc="upper right")
    fig.suptitle(f"Overlap of disjoint sets, {_seeds(table)}, dashed: chance s / (2 - s)", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def layer_plot(table: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """The same overlap by layer: mean over seeds of memorised, unseen and mixed pairs."""
    require_rows(table, ("kind", "reference", "method", "pair", "layers", "mean"), "table")
    table = table[table["mean"].notna()]
    cells, kinds = list(dict.fromkeys(zip(table.method, table.reference))), list(dict.fromkeys(table.kind))
    fig, axes = grid(len(kinds), len(cells), 2.5, 2.0)
    for r, kind in enumerate(kinds):
        for ax, (method, reference) in zip(axes[r], cells):
            for i, pair in enumerate(PAIRS):
                of = matching(table, method=method, reference=reference, kind=kind, pair=pair)
                if len(of):
                    mean = np.mean([list(v) for v in of.layers], axis=0)
                    ax.plot(mean, MARKS[i] + "-", color=SERIES[i], markersize=4, linewidth=1.1, label=PAIRS[pair])
            ax.set_xticks(range(len(table.layers.iloc[0])))
            ax.set_ylim(bottom=0)
            framed(ax, title=f"{kind}: {_score(method)}, {reference}", titled=7)
    for ax in axes[-1]:
        ax.set_xlabel("layer", fontsize=8)
    for row in axes:
        row[0].set_ylabel("IoU", fontsize=8)
    axes[0][-1].legend(fontsize=6, frameon=False)
    return finish(fig, path)


@door(FigureError)
def tradeoff_plot(
    curves: pd.DataFrame,
    path: FilePath | None = None,
    *,
    rise: NonNegative = 0.05,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Strict recitation against the rise of clean loss, one line a method, a mark a dose: mean over seeds. Left the set
    that was located, right the second family.

    The method "random" is drawn thick: a method is worth its data only where its line is below that one. `rise`: where
    the methods are compared.
    """
    require_rows(curves, ("method", "dose", "set", "strict", "rise", "seed"), "curves")
    sets = {"val": "the located set (val)", "verse": "the second family (verse)"}
    fig, (axes,) = grid(1, 2, 4.6, 3.9, sharey=True)
    for ax, (name, title) in zip(axes, sets.items()):
        of = curves[curves.set == name]
        for i, (method, part) in enumerate(of.groupby("method", sort=False)):
            by = part.groupby(["seed", "dose"])[["strict", "rise"]].mean().groupby("dose").mean().sort_values("rise")
            look = {"color": SERIES[i % len(SERIES)], "linestyle": ("-", "--")[i // len(SERIES) % 2], "linewidth": 1.1}
            if method == "random":
                look = {"color": INK, "linestyle": "-", "linewidth": 2.2, "zorder": 3}
            look |= {"markersize": 4.5, "alpha": 0.9, "label": _title(method, names)}
            ax.plot(by.rise, by.strict, MARKS[i % len(MARKS)], **look)
        ax.axvline(rise, color=MUTED, linewidth=0.8, linestyle=":")
        ax.set_xscale("symlog", linthresh=0.02)
        ax.set_xlim(0, 1.0)
        ax.set_xticks([0, 0.01, 0.05, 0.2, 1], ["0", ".01", ".05", ".2", "1"])
        n = of[of.dose == 0].groupby(["seed", "method"]).size()
        said = f"{title}: {_seeds(curves)}, {spanned(n)} sequences each"
        framed(ax, "rise of clean loss (nats a token)", title=said)
    axes[0].set_ylabel("strict recitation", fontsize=9)
    legend_beside(axes[1])
    return finish(fig, path)


@door(FigureError)
def matched_plot(tables: Annotated[Mapping[str, pd.DataFrame], Filled()], path: FilePath | None = None) -> Figure:
    """Recitation of every method at one rise of the clean loss: bars are means over seeds, lines their interval, dots
    seeds; a panel a table.

    ``tables``: title -> rows with ``method``, ``title``, ``strict``, ``low``, ``high``, ``runs`` (by seed), ``reached``
    (hatched where False: the curve ends before), ``n``; the first sets the order.
    """
    for table in tables.values():
        require_rows(table, ("method", "title", "strict", "low", "high", "runs", "reached", "n"), "table")
    first = next(iter(tables.values()))
    order, titles = list(first.method), list(first.title)
    fig, (axes,) = grid(1, len(tables), 3.2, 0.9 + 0.3 * len(order), sharey=True)
    for ax, (title, table) in zip(axes, tables.items()):
        table = table.set_index("method")
        for y, method in enumerate(order):
            row = table.loc[method]
            colour, hatch = INK if method == "random" else SERIES[0], None if row.reached else "////"
            look: dict[str, Any] = {"color": colour, "alpha": 0.85, "hatch": hatch, "edgecolor": "white"}
            interval, bounds = {"color": SERIES[1], "linewidth": 1.3}, (row.low, row.high)
            bar(ax, -y, row.strict, 0.62, row.runs, bounds, across=True, interval=interval, **look)
        ax.set_xlim(-0.01, 1.02)
        ax.set_yticks(-np.arange(len(order)), titles, fontsize=8)
        framed(ax, "strict recitation", title=f"{title}, n = {int(table.n.max())}")
    fig.suptitle(
        "Recitation at equal clean loss; lines: 95 % over seeds (Student's t; over sequences for one), dots: seeds,"
        " hatched: the curve ends before this cost",
        fontsize=9,
    )
    return finish(fig, path)


@door(FigureError)
def transfer_plot(
    table: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None
) -> Figure:
    """Recitation after the edit of one set, by where the edit comes from: of the set itself, of other memorised
    sequences, of the second family. Bars: seeds' mean, dots: seeds.
    """
    require_rows(table, ("method", "source", "set", "strict", "seed", "of"), "table")
    methods = list(dict.fromkeys(table.method))
    sets = {"own": "own set", "others": "other memorised", "verse": "second family"}
    sources = {
        "memorised": "memorised set",
        "unseen": "unseen set",
        "random rows": "random, equal rows",
        "random columns": "random columns",
    }
    fig, (axes,) = grid(1, len(methods), 2.6, 3.1, sharey=True)
    for ax, method in zip(axes, methods):
        for i, source in enumerate(sources):
            for j, name in enumerate(sets):
                by = matching(table, method=method, source=source, set=name).groupby("seed").strict.mean()
                if len(by):
                    label = sources[source] if j == 0 else None
                    bar(ax, j + 0.2 * (i - 1.5), by.mean(), 0.19, by, color=SERIES[i], label=label)
        slanted(ax, sets.values(), 7, 20)
        rises = matching(table, method=method, set="own").groupby("source").rise.mean()
        loss = ", ".join(f"{v:+.2f}" for v in rises.reindex([s for s in sources if s in rises.index]))
        ax.set_ylim(0, 1.02)
        framed(ax, title=f"{_title(method, names)}\nclean loss {loss}", titled=7.5)
    axes[0].set_ylabel("strict recitation", fontsize=9)
    labels = max((ax.get_legend_handles_labels() for ax in axes), key=lambda found: len(found[1]))
    legend_beside(axes[-1], 6.5, *labels, title="edit found on", title_fontsize=7)
    return finish(fig, path)


@door(FigureError)
def recall_plot(lines: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Share of the planted neurons among those that each locator puts first: intervals over seeds (of one seed exact,
    over planted neurons), dots are injections, the dashed line is chance.
    """
    require_rows(
        lines, ("locator", "title", "k", "recall", "low", "high", "chance", "runs", "n", "injections"), "lines"
    )
    shares = sorted(lines.k.unique())
    order = lines[lines.k == shares[0]].sort_values("recall", ascending=False).locator.tolist()
    fig, (axes,) = grid(1, len(shares), 2.4, 0.9 + 0.3 * len(order), sharey=True)
    for ax, k in zip(axes, shares):
        of = lines[lines.k == k].set_index("locator")
        for y, locator in enumerate(order):
            row = of.loc[locator]
            at = np.full(len(row.runs), -y) + np.linspace(-0.15, 0.15, len(row.runs))
            ax.plot(row.runs, at, "o", color=GREY, markersize=2.6)
            look: dict[str, Any] = {"markersize": 4.5, "capsize": 2, "elinewidth": 1, "across": True}
            points(ax, -y, row.recall, row.low, row.high, "s", SERIES[0], **look)
        ax.axvline(of.chance.mean(), color=INK, linewidth=0.8, linestyle="--")
        ax.set_xlim(-0.03, 1.03)
        ax.set_yticks(-np.arange(len(order)), [of.title[m] for m in order], fontsize=8)
        framed(ax, f"recall at {100 * k:g} %")
    fig.suptitle(
        f"Memory planted in 1 % of the neurons: {int(lines.injections.max())} injections, {int(lines.n.max())} neurons",
        fontsize=9,
    )
    return finish(fig, path)


@door(FigureError)
def gone_plot(table: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None) -> Figure:
    """What comes back of what an edit cut, by attack: mean over seeds in the edited model (bars) and in the twin that
    never saw it (line), dots are seeds.
    """
    require_rows(table, ("method", "attack", "recovered", "control", "seed", "word"), "table")
    table = table[table.attack != "none"]
    methods, attacks = list(dict.fromkeys(table.method)), list(dict.fromkeys(table.attack))
    fig, (axes,) = grid(1, len(methods), 2.4, 0.9 + 0.34 * len(attacks), sharey=True)
    for ax, method in zip(axes, methods):
        for y, attack in enumerate(attacks):
            of = matching(table, method=method, attack=attack)
            if len(of):
                bar(ax, -y, of.recovered.mean(), 0.6, of.recovered, across=True, color=SERIES[1], alpha=0.85)
                ax.plot([of.control.mean()] * 2, [-y - 0.32, -y + 0.32], color=INK, linewidth=2)
        words = table[table.method == method].groupby("seed").word.first()
        ax.set_xlim(0, 1.02)
        ax.set_yticks(-np.arange(len(attacks)), attacks, fontsize=8)
        said = f"{_title(method, names)}\n{', '.join(words)}"
        framed(ax, "share that comes back", title=said, size=8, titled=7.5)
    fig.suptitle("Is it gone? bars: edited model, black: never-trained twin, dots: seeds", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def relearning_plot(
    table: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None
) -> Figure:
    """Recitation of untouched sequences along fine-tuning on other memorised ones and on clean text, edited model
    against twin: mean over seeds.
    """
    require_rows(table, ("method", "model", "on", "step", "strict", "seed"), "table")
    arms = list(dict.fromkeys(table.on))
    fig, (axes,) = grid(1, len(arms), 3.4, 2.9, sharey=True)
    for ax, arm in zip(axes, arms):
        for i, (method, of) in enumerate(table[table.on == arm].groupby("method", sort=False)):
            for model, style in (("edited", "-"), ("twin", ":")):
                by = of[of.model == model].groupby("step").strict.mean()
                look = {"color": SERIES[i % len(SERIES)], "markersize": 4, "linewidth": 1.2}
                label = _title(method, names) if model == "edited" else None
                ax.plot(by.index, by, MARKS[i % len(MARKS)] + style, label=label, **look)
        ax.set_ylim(-0.03, 1.03)
        framed(ax, "steps", title=f"trained on {arm} (dotted: twin)")
    axes[0].set_ylabel("strict recitation of the target", fontsize=8)
    axes[0].legend(fontsize=7, frameon=False)
    return finish(fig, path)


@door(FigureError)
def damage_plot(lines: pd.DataFrame, controls: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Share of accuracy that each edit leaves, by task (dots: seeds), at the dose that keeps the clean loss within the
    bound; grey: as many random weights (`controls`).
    """
    require_rows(lines, ("method", "title", "task", "kept", "runs", "before"), "lines")
    titles = dict(zip(lines.method, lines.title))
    methods, names = list(dict.fromkeys(lines.method)), list(dict.fromkeys(lines.task))
    fig, (axes,) = grid(1, len(names), 2.2, 0.9 + 0.3 * len(methods), sharey=True)
    for ax, task in zip(axes, names):
        for y, method in enumerate(methods):
            row = matching(lines, task=task, method=method)
            other = controls if controls.empty else matching(controls, task=task, method=method)
            if len(row):
                of = row.iloc[0]
                bar(ax, -y, of.kept, 0.62, of.runs, across=True, color=SERIES[0], alpha=0.85)
            if len(other):
                ax.plot([other.kept.iloc[0]] * 2, [-y - 0.34, -y + 0.34], color=GREY, linewidth=2.5)
        ax.axvline(1, color=MUTED, linewidth=0.8)
        ax.set_yticks(-np.arange(len(methods)), [titles[m] for m in methods], fontsize=8)
        ax.set_xlim(0, max(1.05, 1.05 * max(max(r) for r in lines.runs)))
        before = ", ".join(f"{v:.2f}" for v in lines[lines.task == task].before.iloc[0])
        framed(ax, title=f"{task}\nbefore: {before}", titled=7.5)
    fig.supxlabel("share of accuracy kept", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def recitation_plot(
    recitation: pd.DataFrame,
    demonstration: pd.DataFrame,
    path: FilePath | None = None,
    *,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """SmolLM2: windows of well-known text whose next tokens are all right (exact intervals), and planted passages cut
    out of a copy (one copy: a demonstration).
    """
    fig, ((left, right),) = grid(1, 2, 3.6, 2.9)
    every = matching(recitation, text="all").sort_values("suffix")
    points(left, every.suffix, every.share, every.low, every.high, "s-", SERIES[0], capsize=3)
    framed(left, "tokens to recite", "share recited", f"well-known text, n = {int(every.n.iloc[0])} windows")
    left.set_xticks(list(every.suffix))
    left.set_ylim(bottom=0)
    planted = matching(demonstration, method="planted").iloc[0]
    for i, method in enumerate(("corrected", "contrast")):
        of = matching(demonstration, method=method).sort_values("dose")
        rise, strict = np.concatenate([[0], of.loss - planted.loss]), [planted.strict, *of.strict]
        right.plot(rise, strict, MARKS[i] + "-", color=SERIES[i], markersize=5, label=_title(method, names))
    said = f"planted in a copy: {int(planted.n)} passages (a demonstration)"
    framed(right, "rise of loss on well-known text (nats)", "strict recitation", said)
    right.set_ylim(-0.03, 1.03)
    right.legend(fontsize=7, frameon=False)
    return finish(fig, path)


def _title(method: str, names: Mapping[str, str] | None = None) -> str:
    return (names or {}).get(method, method)


def _score(method: str) -> str:
    return {"contrast": "published contrast", "corrected": "corrected contrast"}.get(method, method)


def _seeds(table: pd.DataFrame) -> str:
    return several(table.seed.nunique(), "seed")
