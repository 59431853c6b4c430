"""Evaluation of a captioner: official scores, wrong nouns, an HTML page, and comparison of two captioners."""
