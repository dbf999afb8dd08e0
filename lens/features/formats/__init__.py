"""Dictionaries as their libraries write them to disk, a module a library."""
