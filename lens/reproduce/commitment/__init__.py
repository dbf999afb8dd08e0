"""Commitment: is there a layer from which on context no longer changes an answer, and do published scores find it?"""
