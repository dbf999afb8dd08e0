"""The first path: blocks written out, so that each edited row computes its own suffix alone."""
