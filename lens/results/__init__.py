"""Labelled results: their record, their files, and stores that a sweep writes as it goes."""

from . import accessor

__all__ = ["accessor"]
