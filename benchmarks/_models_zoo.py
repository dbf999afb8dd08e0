"""All rows of the table, in the order in which it shows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ._models_dense import DENSE
from ._models_sparse import SPARSE
from ._models_variants import Rows

ROWS: Rows = {row: list(variants) for row, variants in (DENSE | SPARSE).items()}

#: Rows of which the first model is also run inside a bridge.
BRIDGED = ("llama", "gpt2", "gpt_neox", "opt", "bloom", "phi3", "gemma2", "qwen3_moe", "gpt_oss", "mamba2")
#: Rows of which it is also run in bfloat16, against a copy in float32.
HALF = ("llama", "gpt2", "olmo2", "gemma2", "phi3", "starcoder2", "granite", "mixtral", "gpt_oss", "deepseek_v3")


def _also(row: str, said: str, **changes: Any) -> None:
    first = ROWS[row][0]
    ROWS[row].append(replace(first, label=f"{first.label}, {said}" if first.label else said, **changes))


for _row in BRIDGED:
    _also(_row, "bridge", form="bridge")
for _row in HALF:
    _also(_row, "bfloat16", dtype=torch.bfloat16)
