"""Bundle: a captioner on disk. The bundles that ship are data, in captioner/bundles."""
