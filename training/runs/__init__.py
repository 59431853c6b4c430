"""A training run on disk: state, checkpoint, progress, curves and model card."""
