"""Inspection of a data set before training: counts, words, photos and advice. No module here needs torch."""
