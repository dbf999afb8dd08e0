"""Views that were saved: `view.save_state(path)` writes one, `restore` shows it again."""

from __future__ import annotations

from typing import Any

from lens.arguments import FilePath, door
from lens.files import expanded
from widgets.attention_view import AttentionView
from widgets.base import state
from widgets.base.view import View
from widgets.checkpoint_view import CheckpointView
from widgets.circuit_view import CircuitView
from widgets.curvature_view import CurvatureView
from widgets.diffusion_bench import DiffusionBench
from widgets.errors import ViewError
from widgets.injection_bench import InjectionBench
from widgets.patch_explorer import PatchExplorer
from widgets.provenance_bench import ProvenanceBench
from widgets.subspace_bench import SubspaceBench
from widgets.trajectory_view import TrajectoryView
from widgets.unlearning_bench import UnlearningBench
from widgets.vector_bench import VectorBench

VIEWS: dict[str, type[View]] = {
    view.__name__: view
    for view in (
        AttentionView,
        CheckpointView,
        CircuitView,
        CurvatureView,
        DiffusionBench,
        InjectionBench,
        PatchExplorer,
        ProvenanceBench,
        SubspaceBench,
        TrajectoryView,
        UnlearningBench,
        VectorBench,
    )
}


@door(ViewError)
def restore(path: FilePath, *given: Any, any_weights: bool = False, **options: Any) -> Any:
    """Show a view as `view.save_state(path)` left it: the same fields, the same picture, ready to be asked on.

    Args:
        path: the .json file.
        given, options: what the view was made with: its model, and the sets of text or pictures where it has such
            (`restore("x.json", model)`, `restore("y.json", model, memorised, reference)`). The four views that bring
            an example of their own (SubspaceBench, CurvatureView, ProvenanceBench, DiffusionBench) need none for it.
        any_weights: take the fields alone where the model's weights are not those that the answers are of.

    Returns the view. Raises ViewError for a file that is absent, damaged, of another version or of no known view, for a
    model that is missing, and for other weights.
    """
    saved = state.read(expanded(path))
    if saved["view"] not in VIEWS:
        raise ViewError(f"path: holds the state of a {saved['view']!r}; known are {', '.join(VIEWS)}")
    try:
        view = VIEWS[saved["view"]]._for_state(saved, given, options)
    except TypeError as error:
        raise ViewError(f"model: {saved['view']} cannot be opened with what was given: {error}") from error
    weights, now = saved["model"].get("weights", ""), view._weights()
    if weights != now:
        if not any_weights:
            view.close()
            raise ViewError(
                f"model: the state is of {saved['model'].get('name')!r} with weights {weights[:12] or '(no hash)'}, the"
                f" model given has {now[:12] or '(no hash)'}; give that model, or any_weights=True to take the question"
                " without the answers"
            )
        saved = saved | {"answers": {}, "more": {}}
    view._take_state(saved)
    return view
