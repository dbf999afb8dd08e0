"""What every HTML text of the package has in common."""

from __future__ import annotations

__all__ = ["as_written"]


def as_written(markup: str) -> str:
    r"""HTML in which a notebook typesets nothing: a model's name or a token that holds ``$`` or ``\(`` is shown as it
    is.

    The classes are those that MathJax 3 and 4 (JupyterLab) and MathJax 2 (nbconvert's pages) leave alone.
    """
    return f'<div class="mathjax_ignore tex2jax_ignore">{markup}</div>'
