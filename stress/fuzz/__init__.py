"""Fuzzing: broken and malicious inputs by the thousand."""
