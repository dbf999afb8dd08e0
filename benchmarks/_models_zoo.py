"""All rows of the table, in the order in which it shows them."""

from __future__ import annotations

import torch

from ._models_dense import DENSE
from ._models_sparse import SPARSE
from ._models_variants import Rows, Variant

ROWS: Rows = {row: list(variants) for row, variants in (DENSE | SPARSE).items()}

#: Rows that are also run in bfloat16, against a copy in float32.
HALF = ("llama", "gpt2", "olmo2", "gemma2", "phi3", "starcoder2", "granite", "mixtral", "gpt_oss", "deepseek_v3")
for _row in HALF:
    _first = ROWS[_row][0]
    _label = f"{_first.label}, bfloat16" if _first.label else "bfloat16"
    ROWS[_row].append(Variant(_row, _label, _first.make, _first.where, _first.attention, torch.bfloat16, _first.form))
