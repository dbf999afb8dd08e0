"""Trains the models that ship, or a family."""

from .command import main

main()
