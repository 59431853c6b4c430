"""Labels: the classes that an encoder's own classifier recognises in a photo, and the words that name them."""
