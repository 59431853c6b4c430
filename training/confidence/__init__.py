"""Confidence: fit and evaluate the calibrated probability that a caption is right."""
