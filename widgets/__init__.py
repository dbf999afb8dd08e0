"""Jupyter views over `lens`: state in traits, computing in `lens`, drawing in the browser.

    # activation patching: run, hover, click, pin, compare, export
    widgets.PatchExplorer(model, pair)
    # every head's attention pattern, token by token
    widgets.AttentionView(model, text)
    # edges between heads, MLPs, input and logits: scores, exact effects of those clicked, faithfulness of circuits
    widgets.CircuitView(model, pairs)
    # two checkpoints on one prompt: where they differ beyond two runs of one recipe, one's state put into the other
    widgets.CheckpointView(a, b, prompt)
    # labelled prompts over the layers, a gate fitted on them, answers with and without the edit behind it
    widgets.TrajectoryView(model, items)
    # memory injection: sliders, next token, map beside a control, generation
    widgets.InjectionBench(model, prompt, memory, answer)
    # instruction vectors: head map, sliders, validation accuracy, test report, two models side by side
    widgets.VectorBench(model, task)
    # provenance: rows stream in, e-value with a stop rule, p-values with their worth, suspects compared
    widgets.ProvenanceBench(suspects, transcript, references)
    # the weights that hold memory: trade-off curve beside a random control, layer map, texts before and after, undo
    widgets.SubspaceBench(model, memorised, reference)
    # unlearning: rows, method, dose; its path beside a twin and the retain set alone, attacks, weights put and back
    widgets.UnlearningBench(model, forget, retain, twin=twin)
    # loss curvature: spectrum by layer, brush a band, who uses it, what goes when it is taken out
    widgets.CurvatureView(model, decomposition, memorised, clean)
    # memorised pictures of a diffusion model: watch the denoising, cut them out, attack; grid with the copy measure,
    # layer-by-step map, undo
    widgets.DiffusionBench()

`view.save_state("x.json")` keeps a view, `widgets.restore("x.json", model)` shows it again in another session.

What a view refuses raises `widgets.ViewError`, a `lens.Error` and a `ValueError`.
"""

# What it needs is asked for before what needs it is imported.
# ruff: noqa: E402
from lens.extras import require

require("notebook", "widgets")

from widgets.attention_view import AttentionView
from widgets.checkpoint_view import CheckpointView
from widgets.circuit_view import CircuitView
from widgets.curvature_view import CurvatureView
from widgets.diffusion_bench import DiffusionBench
from widgets.errors import ViewError
from widgets.injection_bench import InjectionBench
from widgets.patch_explorer import PatchExplorer
from widgets.provenance_bench import ProvenanceBench
from widgets.saved_views import restore
from widgets.subspace_bench import SubspaceBench
from widgets.trajectory_view import TrajectoryView
from widgets.unlearning_bench import UnlearningBench
from widgets.vector_bench import VectorBench

__all__ = [
    "AttentionView",
    "CheckpointView",
    "CircuitView",
    "CurvatureView",
    "DiffusionBench",
    "InjectionBench",
    "PatchExplorer",
    "ProvenanceBench",
    "SubspaceBench",
    "TrajectoryView",
    "UnlearningBench",
    "VectorBench",
    "ViewError",
    "restore",
]
