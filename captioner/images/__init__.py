"""Photos: find the files, open them in any common format, and prepare their pixels for an encoder."""
