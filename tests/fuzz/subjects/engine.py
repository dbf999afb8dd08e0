"""Sites, edits, what is put in force, runs, prompts, and results on disk."""

from __future__ import annotations

import itertools

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

import lens
from lens import prompts
from lens.engine import runs
from lens.results import dataset as results
from tests.models import tiny

from . import Subject
from .common import SPOKEN, direction, enter, fitted, ids, labelled, model, pair, pairs, patched, said

MODULES = ("lens", "lens.prompts")
#: Records that only functions make, a model's runs (`Runs.record` makes them), `Model` (what families ask), and what
#: has a family of its own here.
RESULTS = (
    "Align",
    "EncodedPair",
    "Match",
    "Message",
    "Model",
    "Rendered",
    "Runs",
    "load",
    "patch",
    "patch_between",
    "path_patch",
    "causal_trace",
    "compare",
    "depth",
    "edges",
    "explain_cell",
    "faithfulness",
    "summary",
    "agreement",
    "logit_lens",
    "attention",
    "head_vocabulary",
    "direct_logit_attribution",
    "induction_scores",
    "copying_scores",
    "token_id",
    "token_strings",
    "tokenizer_of",
    "resolve_positions",
    "__version__",
    "adopt",
)
_numbers = itertools.count()


def _new(suffix: str) -> str:
    return f"result-{next(_numbers)}{suffix}"


def _saved() -> str:
    return str(lens.save(patched(), _new(".zarr")))


def _used(edit: lens.Edit) -> None:
    enter(lens.edited(model(), edit))


def _adapted():
    """A model with an adapter beside its weights."""
    return get_peft_model(tiny("llama"), LoraConfig(r=2, target_modules=["v_proj"])).eval()


def subjects():
    yield Subject("adapter", lens.adapter, lambda: dict(model=_adapted(), name="default"), use=enter)

    def site():
        return lens.Site("attn_out", layer=1)

    def run():
        return lens.Runs.record(model(), list(ids(2)))

    yield Subject(
        "Site",
        lens.Site,
        lambda: dict(name="z", layer=1, head=1, position=[0, -1]),
        use=lambda made: _used(lens.Edit(made, "zero")),
    )
    yield Subject("Edit", lens.Edit, lambda: dict(site=site(), op="add", value=direction(), scale=2.0), use=_used)
    yield Subject(
        "edited", lens.edited, lambda: {"model": model(), "*edits": [lens.Edit(site(), "add", direction())]}, use=enter
    )
    yield Subject(
        "generate",
        lens.generate,
        lambda: dict(
            model=model(),
            prompts=["w1 w2 w3", [5, 6]],
            edits=[lens.Edit(site(), "add", direction())],
            max_new_tokens=3,
            temperature=0.7,
            seed=1,
            stop=["w5"],
            schedule=[1.0, 0.5],
            capture=[lens.Site("resid_post", layer=1)],
            batch=2,
            memory_mb=100.0,
            start=None,
            progress=False,
        ),
    )

    def gated(gate: lens.Gate) -> None:
        edit = lens.Edit(lens.Site("resid_post", layer=1), "add", direction(), when=gate)
        lens.generate(model(), ["w1 w2 w3"], edit, max_new_tokens=2)

    yield Subject("Gate", lens.Gate, lambda: dict(kind="token", tokens=(1, 2), hold="once"), use=gated)
    yield Subject(
        "Gate.projection",
        lens.Gate.projection,
        lambda: dict(site=site(), direction=direction(), threshold=0.5, hold="once", tokens=[1, 2]),
        use=gated,
    )
    yield Subject(
        "Gate.cosine",
        lens.Gate.cosine,
        lambda: dict(site=site(), direction=direction(), threshold=0.5, hold="prompt", tokens=3),
        use=gated,
    )
    yield Subject(
        "Gate.nearest",
        lens.Gate.nearest,
        lambda: dict(site=site(), centroids=torch.eye(2, 32), target=1, threshold=0.0, hold="prompt", tokens=()),
        use=gated,
    )
    yield Subject(
        "Gate.fit",
        lens.Gate.fit,
        lambda: dict(
            model=model(), train=labelled(0), tune=labelled(12), sites=site(), target="a", hold="prompt", start=None
        ),
        use=gated,
    )
    yield Subject("Gate.save", fitted().save, lambda: dict(path=_new(".safetensors")))
    yield Subject("Gate.open", lens.Gate.open, lambda: dict(path=str(fitted().save(_new(".safetensors")))), use=gated)
    yield Subject(
        "Gate.probability",
        lens.Gate.probability,
        lambda: dict(tokens=[1, 2], threshold=0.5, hold="once"),
        use=gated,
    )
    yield Subject("Gate.token", lens.Gate.token, lambda: dict(tokens=[1, 2], hold="prompt"), use=gated)
    yield Subject(
        "Gate.function",
        lens.Gate.function,
        lambda: dict(site=site(), test=lambda x: x[:, 0] > 0, hold="once", tokens=[1]),
        use=gated,
    )
    yield Subject("restore", lens.restore, lambda: dict(model=model()))
    yield Subject("sites", lens.sites, lambda: dict(model=model()))
    yield Subject(
        "Model.register",
        lens.Model.register,
        lambda: dict(
            kind=type("Own", (nn.Module,), {}),
            blocks="layers",
            head="head",
            embedding="embedding",
            attn="attn",
            mlp="mlp",
            o_proj="attn.o",
            n_heads=2,
        ),
    )
    yield Subject("Runs.record", lens.Runs.record, lambda: dict(model=model(), ids=list(ids(2)), keep=("z",)))
    yield Subject(
        "Runs.record_pair",
        lens.Runs.record_pair,
        lambda: dict(model=model(), ids=list(ids(2)), others=list(ids(2, seed=1))),
    )
    yield Subject("Runs.fork", run().fork, lambda: dict(ids=list(ids(2, seed=1))))
    yield Subject("Runs.get", run().get, lambda: dict(site="z", layer=1))
    yield Subject("Runs.verify", run().verify, lambda: dict(prompts=[0]))
    yield Subject(
        "mean_activation", runs.mean_activation, lambda: dict(model=model(), ids=list(ids(2)), site="z", layer=1)
    )
    yield Subject(
        "Pair",
        lens.Pair,
        lambda: dict(
            clean="w1 w2",
            corrupted="w1 w3",
            answer=" w4",
            foil=" w5",
            spans={"subject": "w2"},
            start="w0 ",
            label="one",
        ),
    )
    yield Subject("Pair.locate", pair().locate, lambda: dict(name="subject"))
    yield Subject("Pair.rendered", pair().rendered, lambda: dict(model=model()))
    yield Subject("Pair.as_record", pair().as_record, lambda: dict(model=model()))
    yield Subject(
        "Pair.chat",
        lens.Pair.chat,
        lambda: dict(
            messages=said("w1", "w2"),
            corrupted=said("w1", "w3"),
            answer="w4",
            foil="w5",
            spans={"subject": "w2"},
            corrupted_spans={"subject": "w3"},
            continued=False,
            template=SPOKEN,
            date="2025-02-03",
            label="one",
        ),
    )
    yield Subject(
        "Pair.from_records",
        lens.Pair.from_records,
        lambda: dict(
            records=[{"q": "w1 w2", "corrupted": "w1 w3", "answer": " w4", "of": "w2"}],
            columns={"clean": "q"},
            spans={"subject": "of"},
            limit=1,
        ),
    )
    yield Subject(
        "Chat", prompts.Chat, lambda: dict(messages=said("w1"), continued=False, template=SPOKEN, date="2025-02-03")
    )
    chat = prompts.Chat(said("w1", "w2"), template=SPOKEN)
    yield Subject("Chat.find", chat.find, lambda: dict(part="w2", occurrence=1))
    yield Subject("Chat.as_record", chat.as_record, dict)
    yield Subject("Chat.from_record", prompts.Chat.from_record, lambda: dict(record=chat.as_record()))
    yield Subject(
        "matches",
        prompts.matches,
        lambda: dict(encoded=lens.encode(model(), pair()), align="end", positions=[-1, -2]),
    )
    yield Subject(
        "as_chat", prompts.as_chat, lambda: dict(chat=said("w1"), continued=False, template=SPOKEN, date="2025-02-03")
    )
    yield Subject(
        "render",
        prompts.render,
        lambda: dict(model_or_tokenizer=model(), prompt=prompts.Chat(said("w1"), template=SPOKEN)),
    )
    yield Subject("prompt_ids", prompts.prompt_ids, lambda: dict(model=model(), prompt="w1 w2", start=None))
    yield Subject("start_token", prompts.start_token, lambda: dict(model=model(), start="auto"))
    yield Subject("save_model", lens.save_model, lambda: dict(model=model(), folder=_new("-model"), check=False))
    yield Subject("encode", lens.encode, lambda: dict(model_or_tokenizer=model(), pair=pair()))
    yield Subject("encode_all", prompts.encode_all, lambda: dict(model_or_tokenizer=model(), pairs=pairs()))
    yield Subject("load_pairs", lens.load_pairs, lambda: dict(name="facts", split="report", limit=2))
    yield Subject("save", lens.save, lambda: dict(ds=patched(), path=_new(".zarr")))
    yield Subject("export", lens.export, lambda: dict(ds=patched(), path=_new(".csv")))
    yield Subject("open", lens.open, lambda: dict(path=_saved()))
    yield Subject("record", lens.record, lambda: dict(ds=patched()))
    yield Subject("describe", lens.describe, lambda: dict(ds=patched()))
    yield Subject("stamp", results.stamp, lambda: dict(ds=patched(), record={"kind": "patch"}))
    yield Subject("peak", results.peak, lambda: dict(ds=patched()))
    yield Subject("table", results.table, lambda: dict(ds=patched()))
