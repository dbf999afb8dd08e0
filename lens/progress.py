"""Progress bars: when they are shown."""

from __future__ import annotations

import os


def hidden(progress: bool | None) -> bool:
    """Whether to hide progress bars: what the caller says, else TQDM_DISABLE (which tqdm's notebook bar does not read
    itself).
    """
    return bool(os.environ.get("TQDM_DISABLE")) if progress is None else not progress
