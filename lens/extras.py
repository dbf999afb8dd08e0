"""What a bare installation leaves out: which extra brings a package, and the error that names it."""

from __future__ import annotations

import importlib.util
import sys

from .errors import Error

__all__ = ["EXTRAS", "ExtraError", "absent", "require"]

#: extra -> the modules that it brings and that `lens` or `widgets` import
EXTRAS = {
    "notebook": ("anywidget", "ipywidgets", "traitlets", "IPython"),
    "diffusion": ("diffusers", "skimage", "sklearn", "PIL"),
    "ray": ("ray",),
    "served": ("openai", "httpx2"),
    "inspect": ("inspect_ai",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "quantized": ("torchao", "bitsandbytes", "optimum.quanto", "compressed_tensors"),
}


class ExtraError(Error, ImportError):
    """A part of the package needs an extra that is not installed; the message names it and how to install it."""


def absent(extra: str) -> list[str]:
    """The modules of an extra that are not installed, by a look at where they would lie; nothing is imported."""
    return [name for name in EXTRAS[extra] if not _there(name)]


def require(extra: str, what: str, only: str | None = None) -> None:
    """Refuse `what`, such as "lens.diffusion", where modules of an extra are not installed; `only`: the one module of
    it that is needed.

    Raises: ExtraError: what is absent, the extra that brings it, and the command.
    """
    if missing := [name for name in absent(extra) if only in (None, name)]:
        raise ExtraError(
            f"{what} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: the extra"
            f" [{extra}] brings {'it' if len(missing) == 1 else 'them'}. Run: pip install 'mnemoscope[{extra}]'"
        )


def _there(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package that a submodule would lie in is not there
        return False
