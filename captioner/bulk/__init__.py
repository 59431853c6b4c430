"""Captions of many photos, written to files by a run that can be resumed."""
