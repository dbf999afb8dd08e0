"""Benchmarks: each compares with named peers in the same run and checks that both give the same numbers.

`python -m benchmarks patching`, `... injection`; see benchmarks/README.md.
"""
