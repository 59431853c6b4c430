"""Data sets: everything between files on disk and batches in memory."""
