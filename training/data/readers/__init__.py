"""Readers of caption formats."""
