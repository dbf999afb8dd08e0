"""Labelled results: their record, their files, and stores that a sweep writes as it goes."""

from . import accessor
from .dataset import Peak, Result, describe, peak, provenance, stamp, table

__all__ = ["Peak", "Result", "accessor", "describe", "peak", "provenance", "stamp", "table"]
