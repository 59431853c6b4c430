"""Inference: batching, the captioner in use, and switching to another one."""
