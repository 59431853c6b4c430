"""Grounding: whether attention maps lie on the objects that words name."""
