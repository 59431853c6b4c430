"""Confidence: how likely captions and words are right, and which captions to correct first."""
