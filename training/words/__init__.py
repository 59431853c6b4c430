"""Generation of the list of English content words, `captioner/text/english_words.tsv`."""
