"""The memory subspace: overlap of masks with its control, trade-off curves, transfer, memory at a known place, and what
comes back.

Tables come as the study's steps make them. Dots are trained models (seeds); bars and lines
say in the title what their interval is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, Filled, NonNegative, door
from ...figures.panels import GREY, dots, grid, legend_beside, plain
from ...figures.style import INK, MUTED, SERIES, FigureError, finish, require_rows
from ...figures.vectors import MARKS
from ..common import matching

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
    fig, axes = grid(1, len(cells), 2.7, 3.1)
    for ax, (method, reference) in zip(axes[0], cells):
        for j, kind in enumerate(kinds):
            for i, pair in enumerate(PAIRS):
                of = matching(table, method=method, reference=reference, kind=kind, pair=pair)
                x = j + 0.26 * (i - 1)
                ax.bar(x, of["mean"].mean(), 0.24, color=SERIES[i], linewidth=0, label=PAIRS[pair] if j == 0 else None)
                dots(ax, np.full(len(of), x), of["mean"])
        chance = matching(table, method=method, reference=reference).chance.mean()
        ax.axhline(chance, color=INK, linewidth=0.8, linestyle="--")
        ax.set_xticks(range(len(kinds)), kinds, fontsize=8)
        ax.set_title(f"{_score(method)},\nreference: {reference}", fontsize=8)
        ax.set_ylim(0, max(0.05, 1.15 * table["mean"].max()))
        plain(ax)
    axes[0][0].set_ylabel("IoU of masks", fontsize=9)
    axes[0][-1].legend(fontsize=6.5, frameon=False, loc="upper right")
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
            ax.set_title(f"{kind}: {_score(method)}, {reference}", fontsize=7)
            ax.set_xticks(range(len(table.layers.iloc[0])))
            ax.set_ylim(bottom=0)
            plain(ax)
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
    fig, axes = grid(1, 2, 4.6, 3.9, sharey=True)
    for ax, (name, title) in zip(axes[0], sets.items()):
        of = curves[curves.set == name]
        for i, (method, part) in enumerate(of.groupby("method", sort=False)):
            by = part.groupby(["seed", "dose"])[["strict", "rise"]].mean().groupby("dose").mean().sort_values("rise")
            control = method == "random"
            ax.plot(
                by.rise,
                by.strict,
                MARKS[i % len(MARKS)],
                linestyle="-" if control else ("-", "--")[i // len(SERIES) % 2],
                color=INK if control else SERIES[i % len(SERIES)],
                markersize=4.5,
                linewidth=2.2 if control else 1.1,
                alpha=0.9,
                label=_title(method, names),
                zorder=3 if control else 2,
            )
        ax.axvline(rise, color=MUTED, linewidth=0.8, linestyle=":")
        ax.set_xscale("symlog", linthresh=0.02)
        ax.set_xlim(0, 1.0)
        ax.set_xticks([0, 0.01, 0.05, 0.2, 1], ["0", ".01", ".05", ".2", "1"])
        n = of[of.dose == 0].groupby(["seed", "method"]).size()
        ax.set_title(f"{title}: {_seeds(curves)}, {_range(n)} sequences each", fontsize=8)
        ax.set_xlabel("rise of clean loss (nats a token)", fontsize=9)
        plain(ax)
    axes[0][0].set_ylabel("strict recitation", fontsize=9)
    legend_beside(axes[0][1])
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
    fig, axes = grid(1, len(tables), 3.2, 0.9 + 0.3 * len(order), sharey=True)
    for ax, (title, table) in zip(axes[0], tables.items()):
        table = table.set_index("method")
        for y, method in enumerate(order):
            row = table.loc[method]
            colour, hatch = INK if method == "random" else SERIES[0], None if row.reached else "////"
            ax.barh(-y, row.strict, 0.62, color=colour, alpha=0.85, linewidth=0, hatch=hatch, edgecolor="white")
            ax.plot([row.low, row.high], [-y, -y], color=SERIES[1], linewidth=1.3)
            dots(ax, row.runs, np.full(len(row.runs), -y))
        ax.set_xlim(-0.01, 1.02)
        ax.set_yticks(-np.arange(len(order)), titles, fontsize=8)
        ax.set_title(f"{title}, n = {int(table.n.max())}", fontsize=8)
        ax.set_xlabel("strict recitation", fontsize=9)
        plain(ax)
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
    fig, axes = grid(1, len(methods), 2.6, 3.1, sharey=True)
    for ax, method in zip(axes[0], methods):
        for i, source in enumerate(sources):
            for j, name in enumerate(sets):
                by = matching(table, method=method, source=source, set=name).groupby("seed").strict.mean()
                if len(by):
                    x = j + 0.2 * (i - 1.5)
                    ax.bar(x, by.mean(), 0.19, color=SERIES[i], linewidth=0, label=sources[source] if j == 0 else None)
                    dots(ax, np.full(len(by), x), by)
        ax.set_xticks(
            range(len(sets)), list(sets.values()), fontsize=7, rotation=20, ha="right", rotation_mode="anchor"
        )
        rises = matching(table, method=method, set="own").groupby("source").rise.mean()
        loss = ", ".join(f"{v:+.2f}" for v in rises.reindex([s for s in sources if s in rises.index]))
        ax.set_title(f"{_title(method, names)}\nclean loss {loss}", fontsize=7.5)
        ax.set_ylim(0, 1.02)
        plain(ax)
    axes[0][0].set_ylabel("strict recitation", fontsize=9)
    labels = max(axes[0], key=lambda ax: len(ax.get_legend_handles_labels()[1])).get_legend_handles_labels()
    axes[0][-1].legend(
        *labels,
        fontsize=6.5,
        frameon=False,
        title="edit found on",
        title_fontsize=7,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )
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
    fig, axes = grid(1, len(shares), 2.4, 0.9 + 0.3 * len(order), sharey=True)
    for ax, k in zip(axes[0], shares):
        of = lines[lines.k == k].set_index("locator")
        for y, locator in enumerate(order):
            row = of.loc[locator]
            at = np.full(len(row.runs), -y) + np.linspace(-0.15, 0.15, len(row.runs))
            ax.plot(row.runs, at, "o", color=GREY, markersize=2.6)
            error, look = [[row.recall - row.low], [row.high - row.recall]], {"fmt": "s", "markersize": 4.5}
            ax.errorbar(row.recall, -y, xerr=error, color=SERIES[0], capsize=2, elinewidth=1, **look)
        ax.axvline(of.chance.mean(), color=INK, linewidth=0.8, linestyle="--")
        ax.set_xlim(-0.03, 1.03)
        ax.set_yticks(-np.arange(len(order)), [of.title[m] for m in order], fontsize=8)
        ax.set_xlabel(f"recall at {100 * k:g} %", fontsize=9)
        plain(ax)
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
    fig, axes = grid(1, len(methods), 2.4, 0.9 + 0.34 * len(attacks), sharey=True)
    for ax, method in zip(axes[0], methods):
        for y, attack in enumerate(attacks):
            of = matching(table, method=method, attack=attack)
            if len(of):
                ax.barh(-y, of.recovered.mean(), 0.6, color=SERIES[1], alpha=0.85, linewidth=0)
                ax.plot([of.control.mean()] * 2, [-y - 0.32, -y + 0.32], color=INK, linewidth=2)
                dots(ax, of.recovered, np.full(len(of), -y))
        words = table[table.method == method].groupby("seed").word.first()
        ax.set_title(f"{_title(method, names)}\n{', '.join(words)}", fontsize=7.5)
        ax.set_xlim(0, 1.02)
        ax.set_yticks(-np.arange(len(attacks)), attacks, fontsize=8)
        ax.set_xlabel("share that comes back", fontsize=8)
        plain(ax)
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
    fig, axes = grid(1, len(arms), 3.4, 2.9, sharey=True)
    for ax, arm in zip(axes[0], arms):
        for i, (method, of) in enumerate(table[table.on == arm].groupby("method", sort=False)):
            for model, style in (("edited", "-"), ("twin", ":")):
                by = of[of.model == model].groupby("step").strict.mean()
                ax.plot(
                    by.index,
                    by,
                    MARKS[i % len(MARKS)] + style,
                    color=SERIES[i % len(SERIES)],
                    markersize=4,
                    linewidth=1.2,
                    label=_title(method, names) if model == "edited" else None,
                )
        ax.set_title(f"trained on {arm} (dotted: twin)", fontsize=8)
        ax.set_xlabel("steps", fontsize=9)
        ax.set_ylim(-0.03, 1.03)
        plain(ax)
    axes[0][0].set_ylabel("strict recitation of the target", fontsize=8)
    axes[0][0].legend(fontsize=7, frameon=False)
    return finish(fig, path)


@door(FigureError)
def damage_plot(lines: pd.DataFrame, controls: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Share of accuracy that each edit leaves, by task (dots: seeds), at the dose that keeps the clean loss within the
    bound; grey: as many random weights (`controls`).
    """
    require_rows(lines, ("method", "title", "task", "kept", "runs", "before"), "lines")
    titles = dict(zip(lines.method, lines.title))
    methods, names = list(dict.fromkeys(lines.method)), list(dict.fromkeys(lines.task))
    fig, axes = grid(1, len(names), 2.2, 0.9 + 0.3 * len(methods), sharey=True)
    for ax, task in zip(axes[0], names):
        for y, method in enumerate(methods):
            row = matching(lines, task=task, method=method)
            other = controls if controls.empty else matching(controls, task=task, method=method)
            if len(row):
                ax.barh(-y, row.kept.iloc[0], 0.62, color=SERIES[0], alpha=0.85, linewidth=0)
                dots(ax, row.runs.iloc[0], np.full(len(row.runs.iloc[0]), -y))
            if len(other):
                ax.plot([other.kept.iloc[0]] * 2, [-y - 0.34, -y + 0.34], color=GREY, linewidth=2.5)
        ax.axvline(1, color=MUTED, linewidth=0.8)
        ax.set_title(
            f"{task}\nbefore: {', '.join(f'{v:.2f}' for v in lines[lines.task == task].before.iloc[0])}", fontsize=7.5
        )
        ax.set_yticks(-np.arange(len(methods)), [titles[m] for m in methods], fontsize=8)
        ax.set_xlim(0, max(1.05, 1.05 * max(max(r) for r in lines.runs)))
        plain(ax)
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
    fig, axes = grid(1, 2, 3.6, 2.9)
    left, right = axes[0]
    every = matching(recitation, text="all").sort_values("suffix")
    error = [every.share - every.low, every.high - every.share]
    left.errorbar(every.suffix, every.share, yerr=error, fmt="s-", color=SERIES[0], capsize=3)
    left.set_title(f"well-known text, n = {int(every.n.iloc[0])} windows", fontsize=8)
    left.set_xlabel("tokens to recite", fontsize=9)
    left.set_ylabel("share recited", fontsize=9)
    left.set_xticks(list(every.suffix))
    left.set_ylim(bottom=0)
    planted = matching(demonstration, method="planted").iloc[0]
    for i, method in enumerate(("corrected", "contrast")):
        of = matching(demonstration, method=method).sort_values("dose")
        rise, strict = np.concatenate([[0], of.loss - planted.loss]), [planted.strict, *of.strict]
        right.plot(rise, strict, MARKS[i] + "-", color=SERIES[i], markersize=5, label=_title(method, names))
    right.set_title(f"planted in a copy: {int(planted.n)} passages (a demonstration)", fontsize=8)
    right.set_xlabel("rise of loss on well-known text (nats)", fontsize=9)
    right.set_ylabel("strict recitation", fontsize=9)
    right.set_ylim(-0.03, 1.03)
    right.legend(fontsize=7, frameon=False)
    for ax in axes[0]:
        plain(ax)
    return finish(fig, path)


def _title(method: str, names: Mapping[str, str] | None = None) -> str:
    return (names or {}).get(method, method)


def _score(method: str) -> str:
    return {"contrast": "published contrast", "corrected": "corrected contrast"}.get(method, method)


def _seeds(table: pd.DataFrame) -> str:
    count = table.seed.nunique()
    return f"{count} seed{'s' * (count > 1)}"


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
