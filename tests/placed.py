"""Tiny models that accelerate has spread: over the processor's memory and disk here, over devices in
`simulated_devices`.
"""

import argparse
import contextlib
import copy
import json
import sys
import warnings

from tests.models import speaking


def parts_of(model):
    """The names of a model's parts that a device map has a line for: embeddings, rotary tables, blocks, norm, head."""
    body = getattr(model, model.base_model_prefix)
    blocks = next(
        name for name, part in body.named_children() if len(list(part.children())) == body.config.num_hidden_layers
    )
    prefix = model.base_model_prefix
    names = [f"{prefix}.{name}" for name, _ in body.named_children() if name != blocks]
    names += [f"{prefix}.{blocks}.{i}" for i in range(body.config.num_hidden_layers)]
    return [*names, *(name for name, _ in model.named_children() if name != prefix)]


def on_disk(model, folder, chosen=lambda name: name.rsplit(".", 1)[-1].isdigit()):
    """A model of which accelerate keeps some parts on disk, all blocks by default; returned is the model itself."""
    from accelerate import dispatch_model

    where = {name: "disk" if chosen(name) else "cpu" for name in parts_of(model)}
    return dispatch_model(model, where, offload_dir=str(folder), main_device="cpu", force_hooks=True)


def pair_of(kind, folder, seed=0, **options):
    """A tiny model, and a copy of it with its blocks on disk."""
    model = speaking(kind, seed)
    offloaded = on_disk(copy.deepcopy(model), folder, **options)
    offloaded.tokenizer = model.tokenizer
    return model, offloaded


@contextlib.contextmanager
def reads():
    """How often each weight is read from disk by its name, while the block runs."""
    from accelerate.utils import OffloadedWeightsLoader

    counts, plain = {}, OffloadedWeightsLoader.__getitem__

    def counting(self, key):
        if key not in self.state_dict:
            counts[key] = counts.get(key, 0) + 1
        return plain(self, key)

    OffloadedWeightsLoader.__getitem__ = counting
    try:
        yield counts
    finally:
        OffloadedWeightsLoader.__getitem__ = plain


def late(model):
    """Parts for a second device: all blocks but the first, the final norm, and the head unless it is tied."""
    parts, body = parts_of(model), f"{model.base_model_prefix}."
    late = {n for n in parts if n.rsplit(".", 1)[-1].isdigit() and not n.endswith(".0")}
    late |= {n for n in parts if "norm" in n or n.endswith("ln_f")}
    return late if model.config.tie_word_embeddings else late | {n for n in parts if not n.startswith(body)}


def judged_parts(row, columns, place, path=None):
    """What the benchmark's judge says of each part of some methods, on a model that ``place`` has spread: against plain
    hooks on another copy, that is in one place.

    Args: path: "layers" or "hooks": leaves the faster ones out.
    """
    from benchmarks._models_cells import Case, judged, word_tokenizer
    from benchmarks._models_table import COLUMNS
    from benchmarks._models_zoo import ROWS
    from lens.engine.errors import UnsupportedModel
    from lens.engine.model import Model

    case = Case(ROWS[row][0])
    case.model = place(ROWS[row][0].build(seed=0))
    case.model.tokenizer = word_tokenizer()
    if path is not None:
        view = Model.of(case.model)
        view._without_walk("left out")
        if path == "hooks":
            view._layered = UnsupportedModel("left out")
    said = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for column in columns:
            for part in COLUMNS[column].parts(case):
                one = judged([case], part)
                said.append({"part": f"{column}: {part.name}", "said": one.said, "why": one.why, "path": one.path})
    return said


def main():
    """Judges methods over two made-up devices, and prints what was said of each row of the table; at wish also the
    transfers of one sweep, and whether texts of a batch are the same.
    """
    from tests.simulated_devices import Simulated, spread, transfers
    from tests.texts_placed import texts_alike

    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=json.loads, help="[[row, columns, path or null], ...]")
    parser.add_argument("--more", action="store_true")
    asked = parser.parse_args()
    made = {}
    with Simulated():

        def place(model):
            second = late(model)
            return spread(model, second.__contains__)

        made["said"] = [judged_parts(row, columns.split(","), place, path) for row, columns, path in asked.rows]
        if asked.more:
            made |= {"moved": _moves(place, transfers), "texts": texts_alike(place)}
    json.dump(made, sys.stdout)


def _moves(place, transfers):
    """From where to where, and bytes, of each transfer of activations between devices in one walk."""
    import torch

    from lens.engine.edits import Edit
    from lens.engine.model import Model
    from lens.engine.sites import Site
    from tests.models import tiny

    model = Model.of(place(tiny("llama")))
    base, other = model.record_pair([torch.arange(3, 12)], [torch.arange(4, 13)])
    rows = [
        (0, (Edit(Site("resid_pre", layer, position=p), "replace", other[0]),)) for layer in range(3) for p in range(9)
    ]
    transfers.clear()
    model.run(base, rows, [[8]])
    return [(str(a), str(b), n) for a, b, n in transfers if "cpu" not in (a.type, b.type)]


if __name__ == "__main__":
    main()
