"""Splits of a data set, and their names in files and folders."""

import re

SPLITS = ("train", "val", "test")

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy's name for the part of COCO's val that everybody trains on
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
}
"""Names in use, lower case -> the name here."""


def splits_named_in(path: str) -> set[str]:
    """The splits that the folders of a path are named after: train, val2017, ..."""
    words = re.findall(r"[^/\\\W\d_]+", path.lower().replace("\\", "/").rpartition("/")[0])
    return {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
