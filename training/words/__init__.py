"""Generation of the list of English content words, `captioner/english_words.tsv`."""
