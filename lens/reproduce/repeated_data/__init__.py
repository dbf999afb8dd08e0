"""Repeated data: does a small subset that is seen again and again do harm beyond the rows that it takes the place of,
and to what?
"""
