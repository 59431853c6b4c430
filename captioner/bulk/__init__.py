"""Captioning of many photos into files, in runs that can be resumed."""
