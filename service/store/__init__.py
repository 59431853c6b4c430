"""Storage: the database, and the files of photos, data sets and captioners."""
