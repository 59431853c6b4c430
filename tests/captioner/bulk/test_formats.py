"""The format of a bulk run follows from its option and the name of its output."""

from pathlib import Path

import pytest

from captioner.bulk.formats import format_of
from captioner.errors import ConfigError


@pytest.mark.parametrize(
    ("output", "given", "found"),
    [
        ("a.jsonl", None, "jsonl"), ("a.CSV", None, "csv"), ("a.json", "coco", "coco"), ("folder", "xmp", "xmp"),
        ("photos.2026", "xmp", "xmp"),
    ],
)  # fmt: skip
def test_the_output_format_follows_the_option_or_the_file_name(output, given, found):
    assert format_of(Path(output), given) == found


@pytest.mark.parametrize(
    ("output", "given"), [("photo.jpg", None), ("folder", None), ("a.csv", "jsonl"), ("a.json", "xmp"), ("a", "coco")]
)
def test_a_format_that_does_not_fit_the_output_name_is_refused(output, given):
    with pytest.raises(ConfigError, match=f"--output {output}"):
        format_of(Path(output), given)
