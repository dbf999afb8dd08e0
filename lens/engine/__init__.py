"""Runs of a decoder and edits in them: what every family computes with. It knows no family and no kind of result."""
