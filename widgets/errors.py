"""The error of the views."""

from __future__ import annotations

import lens


class ViewError(lens.Error, ValueError):
    """What a view refuses: arguments of its constructor, what is asked of its methods, what is typed into its fields.

    The message names the argument or field, its value, what was expected and the next step. Errors of `lens` that a
    view meets come through as they are; `except lens.Error` takes both.
    """
