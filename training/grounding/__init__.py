"""Grounding: whether attention maps lie on the things that words name, and training that teaches it."""
