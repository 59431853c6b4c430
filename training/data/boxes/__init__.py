"""Boxes of the objects that captions name: read, matched to words, and laid on the grid to supervise attention."""
