"""Recipes: captioners that one command makes from data to card, and what each part of them is worth."""
