"""Trains one of the models anew."""

from .command import main

if __name__ == "__main__":
    main()
