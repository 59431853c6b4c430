"""Translation of sentences with the decoder that captions photos: it attends to words instead of locations."""
