"""Edges and circuits: do scores of edges agree with exact effects, do they find the true edges, and do circuits carry a
task by themselves?
"""
