"""Confidence: learn and measure the calibrated probability that a caption is right."""
