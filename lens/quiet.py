"""Messages that packages log and that tell a person nothing: kernels for other devices, and that what was asked to lie
on disk lies there.

Transformers imports torchao where it is installed, and peft bitsandbytes, so that these lines would stand on the
standard error of every command and in notebooks.
"""

from __future__ import annotations

import logging

__all__ = ["silence"]

#: logger -> how its messages begin that are left out
_UNSAID = {
    "torchao": "Failed to load ",
    "torch.utils._pytree": "%s is an Enum subclass",
    "accelerate.big_modeling": "Some parameters are on the meta device because they were offloaded",
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
}


def silence() -> None:
    """Leaves these messages out from now on, and no other of the same loggers."""
    for name, beginning in _UNSAID.items():
        logging.getLogger(name).addFilter(_Unsaid(beginning))


class _Unsaid(logging.Filter):
    def __init__(self, beginning: str):
        super().__init__()
        self.beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self.beginning)
