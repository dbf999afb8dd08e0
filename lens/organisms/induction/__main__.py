"""Trains the model anew."""

from .command import main

main()
