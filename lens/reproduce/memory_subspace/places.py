"""One layer at a time: how much of the copying each place of the U-Net carries. The step that cuts, what is read from
its table, and what is claimed of it.

A place is a transformer block: its feed-forward second layer, or keys and values of its cross-attention. Each is cut
alone, with the mask that the method locates in it at each dose, and whole (dose 1: every weight of the place at 0, the
most that it can carry); beside them all places together. The place is chosen on the tune set, at the cost on one half
of the held-out pictures, and reported on a set and a half that it was not chosen on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ...stats.units import Nested
from ...subspace import Mask
from ..over_models import each
from .bench import REPORTED, RISE, TUNE, Bench
from .methods import Method
from .steps import lines_of, seen, spread
from .tables import by_caption, left_at, short, within_models

EVERY, WHOLE = "all", 1.0


# -- the step -------------------------------------------------------------------------------------------------------


def alone(bench: Bench, method: Method, first: int, most: int = 5) -> pd.DataFrame:
    """Copying of the located set with one place cut at a time, one line a place, dose and caption; dose 0 is unedited.
    Located once on the tune set, once on the first reported set. `most`: doses.
    """
    lines = []
    for located in (TUNE, REPORTED[0]):
        of = bench.copied("code-many", located)
        if not len(of):
            continue
        before = bench.kept(("copies before", located), partial(seen, bench, of))
        made = method.make(bench, of.captions, spread(method.doses, most), first)
        if not made:
            continue
        for place, dose, mask in _cuts(made):
            read = lines_of(of, located, 0.0, before) if dose == min(made) else []
            if mask.count:
                with mask.applied(bench.pipeline.unet):
                    rise = (bench.rise(0), bench.rise(1))
                    read += lines_of(of, located, dose, seen(bench, of), rise, mask.density)
            lines += [{"place": place} | line for line in read]
    return pd.DataFrame(lines).assign(method=method.name, seed=bench.seed)


def _cuts(made: dict[float, Mask]) -> Iterator[tuple[str, float, Mask]]:
    """(place, dose, mask) in the order in which the places run, doses rising; last all places together."""
    layers = list(next(iter(made.values())).shapes)
    places = list(dict.fromkeys(map(place_of, layers)))
    for place in places:
        own = [name for name in layers if place_of(name) == place]
        for dose, mask in sorted(made.items()):
            yield place, dose, mask.only(own)
        yield place, WHOLE, _whole(mask.only(own))
    for dose, mask in sorted(made.items()):
        yield EVERY, dose, mask


def place_of(layer: str) -> str:
    """The transformer block of a layer: "down_blocks.0.attentions.0"."""
    return layer.partition(".transformer_blocks.")[0]


def _whole(mask: Mask) -> Mask:
    return Mask.of_columns(
        {name: range(width) for name, (_, width) in mask.shapes.items()}, mask.shapes, mask.model, {"method": "whole"}
    )


# -- what is read ---------------------------------------------------------------------------------------------------


def carried(table: pd.DataFrame, rise: float = RISE) -> pd.DataFrame:
    """One line a method, place and model: the least copying that a dose leaves at a rise of at most `rise` (as
    `at_rise`) on the tune set (`chosen_by`, cost on the first half) and on the reported set (`copy`), `whole` and
    `whole_rise` with the place cut whole (NaN for all places together), `before`; `chosen`: whether the tune set
    chooses it (ties to the first).
    """
    lines = []
    for (method, place, seed), of in table.groupby(["method", "place", "seed"], sort=False):
        line = {"method": method, "place": place, "seed": int(seed)}
        for name, located, cost in (("chosen_by", TUNE, "rise_chosen"), ("copy", REPORTED[0], "rise")):
            part = of[of.located == located]
            line[name] = left_at(part.assign(rise=part[cost]), rise) if len(part) else np.nan
        reported = of[of.located == REPORTED[0]]
        whole = reported[(reported.dose == WHOLE) & (reported.place != EVERY)]
        line["before"] = float(reported[reported.dose == 0]["copy"].mean())
        line |= {"whole": float(whole["copy"].mean()), "whole_rise": float(whole.rise.mean())}
        lines.append(line | {"n": int(reported.caption.nunique())})
    out = pd.DataFrame(lines)
    single = out[(out.place != EVERY) & out.chosen_by.notna()]
    best = single.loc[single.groupby(["method", "seed"]).chosen_by.idxmin()].index if len(single) else []
    return out.assign(chosen=out.index.isin(best))


def chosen(table: pd.DataFrame) -> str | None:
    """The place that the tune set chooses in the table of one method and model; None where it has none."""
    found = carried(table) if len(table) else table
    return str(found.place[found.chosen].iloc[0]) if len(found) and found.chosen.any() else None


def differences(
    table: pd.DataFrame, found: pd.DataFrame, method: str, against: str, rise: float = RISE
) -> Nested | None:
    """What all places together (`EVERY`), or the mean of the places that were not chosen ("others"), leave more of each
    caption of the reported set than the chosen place does; for `EVERY` with the sign of "all together take more".
    """
    of = found[(found.method == method) & found["copy"].notna()]
    apart = {}
    for seed, chosen in of[of.chosen].set_index("seed").place.items():
        part = table[(table.method == method) & (table.seed == seed) & (table.located == REPORTED[0])]
        read = {place: by_caption(lines, rise) for place, lines in part.groupby("place", sort=False)}
        rest = [v for place, v in read.items() if place not in (chosen, EVERY)]
        if against == EVERY and EVERY in read:
            apart[int(seed)] = (read[chosen] - read[EVERY]).dropna()
        elif against != EVERY and rest:
            apart[int(seed)] = (pd.concat(rest, axis=1).mean(axis=1) - read[chosen]).dropna()
    return within_models(apart)


def compared(found: pd.DataFrame, method: str) -> dict[str, Any]:
    """What the chosen place leaves by model (`one`), all places together (`every`), the mean of the places that were
    not chosen (`others`), and the places' names.
    """
    of = found[(found.method == method) & found["copy"].notna()]
    chosen = of[of.chosen].set_index("seed").sort_index()
    others = of[~of.chosen & (of.place != EVERY)].groupby("seed")["copy"].mean()
    every = of[of.place == EVERY].set_index("seed")["copy"]
    at = chosen.index
    return {
        "one": chosen["copy"],
        "every": every.reindex(at),
        "others": others.reindex(at),
        "places": list(chosen.place),
        "whole": chosen.whole,
        "whole_rise": chosen.whole_rise,
    }


# -- what is claimed ------------------------------------------------------------------------------------------------


def claims(found: pd.DataFrame) -> Iterator[tuple[str, str, str, str, str]]:
    """(method, against, claim, n, what was seen) of two claims a method of `carried`: one place against all together,
    and against the others.
    """
    for method in dict.fromkeys(found.method):
        read = compared(found, method)
        if not len(read["one"]):
            continue
        order = [place for place in dict.fromkeys(found.place) if place != EVERY]
        names = dict(zip(order, short(order)))
        chosen = ", ".join(names[place] for place in read["places"])
        captions = int(found[found.method == method].groupby("seed").n.first().sum())
        n = f"{len(read['one'])} models x {len(order)} places, {captions} captions"
        said = (
            f"chosen {chosen}: leaves {each(read['one'])}, all together {each(read['every'])}; cut whole it leaves"
            f" {each(read['whole'])} at a rise of {each(100 * read['whole_rise'])} %"
        )
        yield method, EVERY, "all places together take more than the single one that the tune set chooses", n, said
        said = f"chosen {chosen}; the others leave {each(read['others'])} in the mean"
        yield method, "others", "the chosen place carries more than the others", n, said
