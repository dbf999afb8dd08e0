"""Numbers in prose: printed by a cell beside them, constants that are looked up here, or a paper's.

A number in a markdown cell is looked for in the outputs and the source of the code cells beside it (from the markdown
cell before to the one after). `SOURCES` has the others: "paper: " or "scale: " with where it can be read or what it
is, or a Python expression (after "= ") that gives it. Numbers up to 3, of seeds, models and parts of a sentence, are
left out.
"""

import importlib
import inspect
import json
import math
import re
from pathlib import Path

import pytest

import lens
import widgets

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "notebooks" / "results"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[01]*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?|(?<![\w.])[-+]?\.\d+")
#: What holds digits and is no number of the text: links, code, formulas, tags, headings, numbers of lists, years of
#: papers, "2 x 2 design", and names of notebooks, gates, models, sets and seeds.
NAMED = r"(?:[Nn]otebooks?|[Ss]eeds?|[Mm]odels?|[Ss]ets?|[Ll]evels?|Stable Diffusion|section)"
NO_NUMBER = [
    re.compile(pattern, re.M)
    for pattern in (
        r"\]\([^)]*\)",
        r"`[^`]*`",
        r"\$[^$]*\$",
        r"<[^>]*>",
        r"^\s*\d+\.\s",
        r"^#.*$",
        # how long a run takes, and the numbers of notebooks: held by test_stored_notebooks.py
        r"^\*Takes .*$",
        r"\*about [^*]*\*",
        r"(?<=\| )\d\d(?:, \d\d)*(?= \|)",
        r"\[\d\d · ",
        r"\[[^\]]*\d{4}[^\]]*\]",
        r"\([^()]*(?:19|20)\d\d[^()]*\)",
        r"et al\. \d{4}",
        r"\d x \d design",
        NAMED + r" \d+(?:\.\d+)?(?:(?:, | to | and )(?:\w+ )?\d+)*",
        r"\bG\d+\b",
    )
]
COUNTS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen"
).split()
WORDS = {word: number for number, word in enumerate(COUNTS)}


def of(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def parameters(name: str, part: str = "") -> float:
    """Millions of parameters of an organism, to one digit."""
    model = importlib.import_module("lens.diffusion").load(name).unet if part else lens.load(name)
    return round(sum(p.numel() for p in model.parameters()) / 1e6, 1)


def canaries(family: str) -> object:
    recipe = of("lens.organisms.canaries", "Recipe")()
    return of("lens.organisms.canaries.corpus", "Corpus")(recipe).canaries(family)


def default(name: str) -> object:
    """A default of the verdict on an edit."""
    return inspect.signature(of("lens.stats.erasure", "verdict")).parameters[name].default


def stored(file: str) -> object:
    return lens.open(RESULTS / file)


SMOLLM2 = {
    "135": "scale: millions of parameters, in the model's name",
    "30": "scale: its layers; notebook 01 prints them in its verdicts",
    "9": "scale: its heads a layer",
    "270": "= 30 * 9",
}
DOTS = "scale: the level of the map's dots"
WINDOWS = "scale: windows of the stored table power"
MIB = "paper: Mueller et al. 2025, from a copy of its tables"
SECONDARY = "paper: Jiang et al. 2024, from a secondary source"
STUDY, CURVATURE = "lens.reproduce.memory_subspace.bench", "lens.reproduce.loss_curvature.bench"
SOURCES = {
    "01": {
        "26": "paper: Wang et al. 2023, abstract",
        "144": "paper: GPT-2 small, 12 layers of 12 heads",
        "7": "paper: Wang et al. 2023, abstract",
        **dict.fromkeys(("8.7", "6.6", "1.6", "18.6"), "paper: Meng et al. 2022, section 2.2"),
        "0.05": DOTS,
        **SMOLLM2,
    },
    "02": {
        "424": "paper: Sakarvadia et al. 2023, table 3",
        "0.69": "= round(math.log(2), 2)",
        "0.05": DOTS,
        "100": "scale: all there is, in percent",
        "50": "scale: `lens.stats.wilcoxon` is exact up to 50 untied values, as its docstring says",
        "106": "= stored('memory_injections/hand/prompts.nc').sizes['item']",
        **SMOLLM2,
    },
    "03": {**SMOLLM2, ".05": "= of('lens.reproduce.function_vectors.verdicts', 'MARGIN')"},
    "04": {
        **dict.fromkeys(("10.24", "1.93", ".95"), SECONDARY),
        ".873": "paper: Jiang et al. 2025, Hellaswag",
        ".08": "paper: Jiang et al. 2025, the weight in its code",
        "7": "paper: Llama-2-7B-chat, its name",
        "135": SMOLLM2["135"],
        "8": "= of('lens.reproduce.instruction_vectors.study', 'PRESETS')['medium']['language'].rank",
        ".25": "= 2 * 0.5 ** 3",
        "32": "= stored('instruction_vectors/symbols/seed-0/start.nc').effect.isel(old=0).size",
    },
    "05": {
        "0.4": "= parameters('organism:palimpsest')",
        "4,000": "= of('lens.organisms.palimpsest', 'Recipe')().rows",
        "99": "= 100 * of('lens.reproduce.palimpsest.sizes', 'LEVEL')",
        "64": "scale: triples of the stored calibration, sizes.csv",
        "25": "scale: the name of a derivative, tune-25",
        ".01": "= of('lens.reproduce.palimpsest.tables', 'LEVEL')",
        **dict.fromkeys(("8", "16", "32"), WINDOWS),
        ".1": "= 1 / (9 + 1)",
        "9": "paper: Kuditipudi et al. 2025, the authors' repository",
    },
    "06": {
        "1.1": "= parameters('organism:canaries')",
        "32": "= canaries('main').prefix - 1",
        "8": "= canaries('second').ids.shape[1] - canaries('second').prefix",
        "24": "= of('lens.reproduce.subspace_language.smollm2', 'PREFIX')",
        "12": "= max(of('lens.reproduce.subspace_language.smollm2', 'SUFFIXES'))",
        ".05": "= default('alpha')",
        ".15": "= default('margin')",
    },
    "07": {
        "1.1": "= parameters('organism:canaries')",
        "1,024": "= max(of('lens.organisms.canaries', 'Recipe')().plausible_duplicates)",
        ".05": f"= of('{CURVATURE}', 'RISE')",
        "5": f"= round(100 * math.expm1(of('{CURVATURE}', 'RISE')))",
        "95": "scale: the level of every interval",
        ".1": "= of('lens.reproduce.loss_curvature.tables', 'LEAST_ABOVE_CHANCE')",
    },
    "08": {
        "1.1": "= parameters('organism:cards', 'unet')",
        "16": "scale: a card's sides in pixels, lens.organisms.cards.images",
        "64": "= of('lens.organisms.cards', 'Recipe')().duplicates",
        "5": f"= 100 * of('{STUDY}', 'RISE')",
        "25": "scale: the thresholds' table, printed above",
        "50": "= of('lens.reproduce.memory_subspace.attacks', 'UPDATES')",
        ".05": "= default('alpha')",
        ".15": "= default('margin')",
    },
    "09": {
        "135": SMOLLM2["135"],
        "0.5": "paper: Qwen2.5-0.5B, its name",
        **dict.fromkeys(("1.20", ".26", "1.85", "1.63", ".73", ".71", ".28", ".44"), MIB),
        ".67": "paper: Méloux et al. 2025",
        ".8": "scale: the rule in the cell below, 1 less 0.2",
        "1.2": "scale: the rule in the cell below, 1 and 0.2",
    },
    "10": {
        "135": SMOLLM2["135"],
        "27": "paper: Qwen3.5-27B, its name",
        **dict.fromkeys(("20", ".85", ".10"), "paper: on Qwen3.5-27B, from a secondary source"),
        "1,280": "= lens.features.load('features:smollm2-15').n_features",
        "576": "= lens.features.load('features:smollm2-15').d_in",
    },
    "11": {"40": "= of('lens.organisms.archive', 'Recipe')().attacked"},
    "16": {
        "256": "paper: the most often that Hubble puts a text in",
        ".3": "= of('lens.reproduce.repeated_data.tables', 'LEAST')",
    },
    "15": {
        **{n: "paper: arXiv 2508.11290, by reading notes of others" for n in ("2508.11290", "17.77", "4.81")},
        **{n: "paper: arXiv 2504.07986, by reading notes of others" for n in ("2504.07986", "-11.8", "-50.4")},
    },
    "12": {"2511.05933": "paper: its number at arXiv"},
    "13": {"2409.02228": "paper: its number at arXiv"},
    "14": {
        "2510.06107": "paper: its number at arXiv",
        "-.863": "paper: arXiv 2510.06107, the abstract",
    },
}
LOOKED_UP = [(book, token) for book, tokens in SOURCES.items() for token in tokens if tokens[token].startswith("= ")]
NAMES = {f.__name__: f for f in (of, parameters, canaries, default, stored)} | {"math": math, "lens": lens}


def plain(text: str) -> str:
    for pattern in NO_NUMBER:
        text = pattern.sub(" ", text)
    return text


def value(token: str) -> float:
    """A number as it is compared: without its sign, so that "-10.24 points" and "10.24" are one."""
    return abs(float(token.replace(",", "").rstrip(".")))


def said(cell: dict) -> str:
    """The source of a code cell and the texts that it printed."""
    parts = [cell["source"]]
    for output in cell["outputs"]:
        parts.append(output.get("text", ""))
        parts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return " ".join("".join(part) for part in parts)


def beside(cells: list[dict], at: int) -> str:
    """What the code cells on both sides of a markdown cell say, up to the next markdown cells."""
    near = []
    for step in (1, -1):
        place = at + step
        while 0 <= place < len(cells) and cells[place]["cell_type"] == "code":
            near.append(said(cells[place]))
            place += step
    return " ".join(near)


def unsourced(file: Path) -> list[tuple[int, str]]:
    """(cell, number) of every number in a notebook's text that no cell beside it prints and `SOURCES` does not have."""
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    known = {value(token) for token in SOURCES.get(file.name[:2], {})}
    missing = []
    for at, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            there = {value(token) for token in NUMBER.findall(beside(cells, at))} | known | {0, 1, 2, 3}
            tokens = NUMBER.findall(plain("".join(cell["source"])))
            missing += [(at, token) for token in tokens if value(token) not in there]
    return missing


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.stem)
def test_numbers_in_prose_are_printed_beside_it_or_have_a_source(file):
    assert unsourced(file) == []


def test_a_number_that_nothing_prints_is_found(tmp_path):
    text = "480 edited runs, p of at most .05, in `x = 7` ([Nanda 2023](https://example.org/12)); 420 cells.\n"
    cells = [
        {"cell_type": "markdown", "source": [text]},
        {"cell_type": "code", "source": ["print(n)"], "outputs": [{"text": ["420 exact cells"]}]},
    ]
    (tmp_path / "09_x.ipynb").write_text(json.dumps({"cells": cells}))
    assert unsourced(tmp_path / "09_x.ipynb") == [(0, "480"), (0, ".05")]


@pytest.mark.parametrize(("book", "token"), LOOKED_UP)
def test_looked_up_numbers_are_what_the_project_says(book, token):
    assert float(eval(SOURCES[book][token][2:], NAMES)) == pytest.approx(value(token))


def test_the_readme_counts_what_is_there():
    listed = README.split("## Methods")[1].split("\n\n")[1]
    views = {name for name in widgets.__all__ if name[0].isupper()} - {"ViewError"}
    assert set(re.findall(r"`([A-Z]\w+)`", listed)) == views
    assert WORDS[re.search(r"(\w+) widgets to explore", README)[1].lower()] == len(views)
    assert WORDS[re.search(r"## (\w+) examples", README)[1].lower()] == len(re.findall(r"```python", README))
    assert WORDS[re.search(r"(\w+) notebooks, stored executed", README)[1].lower()] == len(NOTEBOOKS)
    assert len(NOTEBOOKS) == len(set(re.findall(r"\b(0\d|1\d) [a-zJ]", README.split("## Methods")[1].split("## ")[0])))
