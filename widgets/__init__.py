"""Jupyter views over `lens`: state in traits, computing in `lens`, drawing in the browser.

    widgets.PatchExplorer(model, pair)       # activation patching: run, hover, click, pin, compare, export
    widgets.AttentionView(model, text)       # every head's attention pattern, token by token
    widgets.InjectionBench(model, prompt, memory, answer)    # memory injection: sliders, next token, map beside a control, generation
    widgets.VectorBench(model, task)         # instruction vectors: head map, sliders, validation accuracy, test report, two models side by side
    widgets.ProvenanceBench(suspects, transcript, references)    # provenance: rows stream in, e-value with a stop rule, p-values with their worth, suspects compared
"""

from widgets.attention_view import AttentionView
from widgets.injection_bench import InjectionBench
from widgets.patch_explorer import PatchExplorer
from widgets.provenance_bench import ProvenanceBench
from widgets.vector_bench import VectorBench

__all__ = ["AttentionView", "InjectionBench", "PatchExplorer", "ProvenanceBench", "VectorBench"]
