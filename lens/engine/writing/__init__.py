"""Texts written token by token, many at once, while edits, gates and schedules act."""
