"""Instruction and function vectors."""

from __future__ import annotations

import functools
import warnings

import torch

import lens
from lens import vectors

from . import Subject
from .common import SPOKEN, direction, fitted, labelled, model

MODULES = ("lens.vectors",)
RESULTS = ("Generated",)

PAIRS = [(f"w{i}", f"w{i + 40}") for i in range(1, 31)]
SMALL = dict(shots=2, template="bare", split="valid", progress=False)


@functools.cache
def task() -> vectors.Task:
    return vectors.Task.from_pairs(
        PAIRS, name="shift", instruction="w90 w91", texts=("w80 {x} w81",), shares=(0.6, 0.2, 0.2)
    )


@functools.cache
def prompts() -> list[vectors.TaskPrompt]:
    return vectors.build(model(), task(), "icl", n=2, shots=2, template="bare", split="valid")


@functools.cache
def means() -> vectors.Means:
    return vectors.mean_activations(model(), prompts(), progress=False)


@functools.cache
def effects():
    return vectors.head_effects(model(), task(), means=means(), trials=3, **SMALL)


@functools.cache
def vector() -> vectors.Vector:
    return vectors.extract(model(), task(), heads=[(0, 1), (2, 3)], means=means())


@functools.cache
def each() -> vectors.LayerVectors:
    return vectors.layer_average(means())


@functools.cache
def evaluated():
    return vectors.evaluate(model(), task(), vector(), layers=[0, 1], n=3, **SMALL)


@functools.cache
def paths():
    return vectors.trajectories(model(), labelled(0), labelled(12), start=None)


def chains() -> dict:
    """Texts of a model, of pieces between w19, three types of them."""
    words = [20, 30, 19, 5, 31, 19, 21, 19, 6, 32, 19, 22, 19, 5, 33]
    return dict(prompts=[[0, 8 + i] for i in range(4)], texts=[[*words, 40 + i] for i in range(4)])


@functools.cache
def thinking() -> vectors.ThoughtTypes:
    return vectors.ThoughtTypes("w19", {"reflection": ["w5"], "transition": ["w6"]})


@functools.cache
def between_thoughts() -> lens.Edit:
    vector = vectors.thought_vector(model(), **chains(), types=thinking(), splits=2)
    return vectors.thought_edit(model(), vector, 1, thinking())


@functools.cache
def lengths():
    return vectors.thought_lengths(
        model(), [[0, 8], [0, 9]], _right, {"none": {}, "cut": {"max_new_tokens": 2}}, thinking(), max_new_tokens=3
    )


def _right(number, text) -> bool:
    return number % 2 == 0


@functools.cache
def saved() -> str:
    vector().save("saved.safetensors")
    return "saved.safetensors"


def subjects():
    warnings.simplefilter("ignore")
    fields = dict(
        direction=torch.ones(4),
        parts=torch.ones(1, 4),
        heads=((0, 1),),
        name="v",
        model="m",
        source="s",
        about={"n": 1},
    )
    yield Subject("Template", vectors.Template, lambda: dict(question="Q:{x}\nA:", name="qa"))
    yield Subject("Template.text", vectors.Template().text, lambda: dict(demos=[("a", "b")], x="c"))
    yield Subject("as_template", vectors.as_template, lambda: dict(template="qa"))
    yield Subject(
        "Task",
        vectors.Task,
        lambda: dict(name="t", pairs=PAIRS[:4], texts=("a {x}",), train=(0, 1), valid=(2,), test=(3,)),
    )
    yield Subject("Task.from_pairs", vectors.Task.from_pairs, lambda: dict(pairs=PAIRS[:6], texts=("a {x}",)))
    yield Subject(
        "Task.chat",
        vectors.Task.chat,
        lambda: dict(pairs=PAIRS[:6], system="w90", question="w80 {x}", template=SPOKEN, instruction="w91", seed=1),
    )
    yield Subject(
        "Task.from_records",
        vectors.Task.from_records,
        lambda: dict(
            records=[{"a": f"w{i}", "output": f"w{i + 1}"} for i in range(1, 8)],
            columns={"input": "a"},
            limit=6,
            texts=("w80 {x}",),
        ),
    )
    yield Subject(
        "ChatTemplate",
        vectors.ChatTemplate,
        lambda: dict(question="w80 {x}", answer="{y}", system="w90", template=SPOKEN, name="spoken"),
    )
    yield Subject("ChatTemplate.text", vectors.ChatTemplate().text, lambda: dict(demos=[("a", "b")], x="c"))
    yield Subject("Task.words", task().words, lambda: dict(split="train"))
    yield Subject("Task.numbers", task().numbers, lambda: dict(split="train"))
    yield Subject("Task.shared_first_tokens", task().shared_first_tokens, lambda: dict(model=model(), template="bare"))
    yield Subject("load_task", vectors.load_task, lambda: dict(name="antonym"))
    yield Subject("task_names", vectors.task_names, dict)
    yield Subject(
        "TaskPrompt",
        vectors.TaskPrompt,
        lambda: dict(
            ids=torch.tensor([1, 2]), answer_ids=(3,), x="w1", y="w3", demos=(("w4", "w5"),), text="w1 w2", kind="icl"
        ),
    )
    yield Subject(
        "build", vectors.build, lambda: dict(model=model(), task=task(), kind="icl", n=2, shots=2, template="bare")
    )
    yield Subject("answered", vectors.answered, lambda: dict(model=model(), prompts=prompts()))
    yield Subject("as_task", vectors.as_task, lambda: dict(task="antonym"))
    yield Subject(
        "Means",
        vectors.Means,
        lambda: dict(z=torch.ones(2, 3, 4), resid=torch.ones(2, 12), n=3, source="instruction", task="t"),
    )
    yield Subject("Means.at_site", means().at_site, lambda: dict(site=lens.Site("z", 1)))
    yield Subject("Means.fits", means().fits, lambda: dict(decoder=lens.Model.of(model())))
    yield Subject(
        "mean_activations", vectors.mean_activations, lambda: dict(model=model(), prompts=prompts(), progress=False)
    )
    yield Subject(
        "head_effects", vectors.head_effects, lambda: dict(model=model(), task=task(), means=means(), trials=1, **SMALL)
    )
    yield Subject("task_means", vectors.task_means, lambda: dict(model=model(), task=task(), n=2, **SMALL))
    yield Subject("summary", vectors.summary, lambda: dict(effects=effects(), resamples=50, flips=20))
    yield Subject("top_heads", vectors.top_heads, lambda: dict(effects=effects(), k=3))
    yield Subject("universal", vectors.universal, lambda: dict(effects={"a": effects(), "b": effects()}, k=3))
    yield Subject("overlap", vectors.overlap, lambda: dict(a=[(0, 1), (1, 1)], b=[(1, 1)], heads=12))
    yield Subject("agreement", vectors.agreement, lambda: dict(exact=effects(), estimate=effects(), resamples=50))
    yield Subject("Vector", vectors.Vector, lambda: dict(fields))
    yield Subject("Vector.at_site", vector().at_site, lambda: dict(site=lens.Site("resid_post", 1)))
    yield Subject("Vector.cosine", vector().cosine, lambda: dict(other=vector()))
    yield Subject("Vector.decode", vector().decode, lambda: dict(model=model(), k=3))
    yield Subject("Vector.save", vector().save, lambda: dict(path="vector.safetensors"))
    yield Subject(
        "LayerVectors",
        vectors.LayerVectors,
        lambda: dict(
            vectors=torch.ones(3, 4), name="v", model="m", source="s", about={"n": 1}, reliability=torch.ones(3)
        ),
    )
    yield Subject("LayerVectors.at", each().at, lambda: dict(layer=1))
    yield Subject("LayerVectors.at_site", each().at_site, lambda: dict(site=lens.Site("resid_post", 1)))
    yield Subject("LayerVectors.save", each().save, lambda: dict(path="layers.safetensors"))
    yield Subject("load_vector", vectors.load_vector, lambda: dict(path=saved()))
    yield Subject(
        "extract",
        vectors.extract,
        lambda: dict(model=model(), task=task(), top=2, effects=effects(), means=means(), **SMALL),
    )
    yield Subject("layer_average", vectors.layer_average, lambda: dict(means=means()))
    yield Subject("random_like", vectors.random_like, lambda: dict(vector=vector(), seed=0))
    yield Subject(
        "evaluate",
        vectors.evaluate,
        lambda: dict(model=model(), task=task(), vectors=vector(), layers=[1], n=2, **SMALL),
    )
    yield Subject("choose", vectors.choose, lambda: dict(result=evaluated()))
    yield Subject(
        "report", vectors.report, lambda: dict(result=evaluated(), chosen={"shift": dict(layer=1, strength=1.0)})
    )
    yield Subject(
        "head_count_curve",
        vectors.head_count_curve,
        lambda: dict(
            model=model(), task=task(), effects=effects(), counts=[1, 2], means=means(), layers=[1], n=1, **SMALL
        ),
    )
    yield Subject(
        "portability",
        vectors.portability,
        lambda: dict(
            model=model(),
            task=task(),
            vector=vector(),
            templates=["bare"],
            layer=1,
            n=1,
            shots=2,
            split="valid",
            progress=False,
        ),
    )
    yield Subject(
        "generate",
        vectors.generate,
        lambda: dict(model=model(), prompt="w1 w2", vector=vector(), layer=1, position="new", max_new_tokens=2),
    )
    yield Subject(
        "written",
        vectors.written,
        lambda: dict(
            model=model(), task=task(), vectors=vector(), layer=1, tokens=1, split="valid", n=1, progress=False
        ),
    )
    yield Subject(
        "fire_rates",
        vectors.fire_rates,
        lambda: dict(model=model(), gate=fitted(), items=labelled(24), start=None),
    )
    yield Subject(
        "trajectories",
        vectors.trajectories,
        lambda: dict(model=model(), train=labelled(0), items=labelled(24), start=None),
    )
    yield Subject("place", vectors.place, lambda: dict(model=model(), paths=paths(), items=labelled(24)))
    yield Subject(
        "gate_rivals",
        vectors.gate_rivals,
        lambda: dict(
            model=model(),
            edit=lens.Edit(lens.Site("mlp_out", 1), "add", direction(), when=fitted()),
            items=labelled(24),
            directions=[direction()],
            start=None,
        ),
    )
    yield Subject(
        "contrast",
        vectors.contrast,
        lambda: dict(model=model(), positive=["w1 w2", "w3"], negative=["w5", "w6 w7"], splits=2),
    )
    yield Subject(
        "ThoughtTypes",
        vectors.ThoughtTypes,
        lambda: dict(separator="w19", types={"reflection": ["w5"]}, rest="execution", where="start"),
    )
    yield Subject("ThoughtTypes.of", thinking().of, lambda: dict(piece="w5 w9"))
    yield Subject("ThoughtTypes.separators", thinking().separators, lambda: dict(model=model()))
    yield Subject("ThoughtTypes.keywords", thinking().keywords, lambda: dict(model=model()))
    yield Subject(
        "thought_segments", vectors.thought_segments, lambda: dict(model=model(), **chains(), types=thinking())
    )
    yield Subject(
        "thought_vector", vectors.thought_vector, lambda: dict(model=model(), **chains(), types=thinking(), splits=2)
    )
    yield Subject(
        "thought_edit", vectors.thought_edit, lambda: dict(model=model(), vector=each(), layer=1, types=thinking())
    )
    yield Subject(
        "thought_rivals", vectors.thought_rivals, lambda: dict(model=model(), edit=between_thoughts(), types=thinking())
    )
    yield Subject(
        "thought_lengths",
        vectors.thought_lengths,
        lambda: dict(
            model=model(), prompts=[[0, 8]], right=_right, arms={"none": {}}, types=thinking(), max_new_tokens=2
        ),
    )
    yield Subject(
        "equal_length",
        vectors.equal_length,
        lambda: dict(lengths=lengths(), arm="cut", rivals=["none", "cut"], resamples=20),
    )
