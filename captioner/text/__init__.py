"""Text: words and vocabularies, the English word list, and checks of characters, JSON and names."""
