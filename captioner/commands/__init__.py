"""What every command needs: arguments from options, errors for missing packages, a quick start."""
