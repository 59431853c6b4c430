"""Training and evaluation of translators."""
