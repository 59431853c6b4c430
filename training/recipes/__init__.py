"""Recipes: one command that makes a captioner from data to card, and ablations of its parts."""
