"""Captions of photos in the formats of other tools."""
