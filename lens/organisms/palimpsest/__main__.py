"""Trains the models that ship, or a family."""

from .command import main

if __name__ == "__main__":
    main()
