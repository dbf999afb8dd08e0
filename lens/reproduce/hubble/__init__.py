"""Hubble: what is remembered of texts that were put into a training so many times, beside a twin without them."""
