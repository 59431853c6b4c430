"""Readers of box annotations."""
