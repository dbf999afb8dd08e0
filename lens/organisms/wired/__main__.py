"""Writes the model anew."""

from .command import main

if __name__ == "__main__":
    main()
