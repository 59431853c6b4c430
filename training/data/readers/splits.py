"""Splits of a data set, and their names in files and folders."""

import re

SPLITS = ("train", "val", "test")

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy's name for the part of COCO's val that is used for training
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
}
"""Common names, lower case -> name of the split."""


def splits_named_in(path: str) -> set[str]:
    """Return the splits in the names of a path's folders: train, val2017, ..."""
    words = re.findall(r"[^/\\\W\d_]+", path.lower().replace("\\", "/").rpartition("/")[0])
    return {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
