"""Faster forms of single operations. Each stands beside its plain form, and a test compares the two."""
