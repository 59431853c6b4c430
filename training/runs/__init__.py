"""Training runs on disk: state, checkpoint, progress, curves and model card."""
