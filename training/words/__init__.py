"""The list of English content words: how `captioner/english_words.tsv` is made."""
