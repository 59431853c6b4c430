"""Evaluation of a captioner: official scores, wrong nouns, a page, and comparison of two captioners."""
