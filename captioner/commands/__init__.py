"""Parts that all commands share: arguments from options, errors for missing packages, a quick start."""
