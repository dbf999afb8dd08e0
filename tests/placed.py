"""Tiny models that accelerate has spread: over the processor's memory and disk here, over devices in
`simulated_devices`.
"""

import contextlib
import copy

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
