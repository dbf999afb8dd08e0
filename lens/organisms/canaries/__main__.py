"""Trains one of the models anew."""

from .command import main

main()
