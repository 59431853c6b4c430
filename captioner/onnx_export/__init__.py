"""A captioner as ONNX networks, with an example that runs them without torch."""
