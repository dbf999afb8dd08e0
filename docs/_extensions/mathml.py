"""Formulas as MathML, which browsers draw themselves: no script, no fonts, nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)
#: What the converter does not know, it hands on as it is.
UNKNOWN = re.compile(r"\\(?:[A-Za-z]+|.)")


def mathml(latex: str, display: str, place: nodes.Node) -> str:
    """The formula as a `<math>` element; a warning, and the LaTeX alone, where it cannot be read."""
    try:
        element = convert(latex, display=display)
    except Exception as error:  # the converter's errors have no common base
        LOG.warning("formula %r is not LaTeX that can be read: %s", latex, type(error).__name__, location=place)
        return f"<code>{nodes.unescape(latex)}</code>"
    left = UNKNOWN.findall(element)
    if left:
        LOG.warning("formula %r: %s is not known", latex, ", ".join(left), location=place)
    return element


def inline(self: Any, node: nodes.math) -> None:
    """A formula in a line."""
    self.body.append(mathml(node.astext(), "inline", node))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    """A formula of its own, in a box that can be moved where it is wider than the page."""
    self.body.append(f'<div class="formula" tabindex="0">{mathml(node.astext(), "block", node)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
