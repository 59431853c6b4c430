"""Captions over HTTP: an API, and a page to look at where the model looked."""
