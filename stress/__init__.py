"""Stress tools: fuzzing, kill rounds and soak tests against the real service."""
