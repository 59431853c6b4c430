"""What the README says of settings, files and addresses is so."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_listed_as_it_is():
    from service.settings import descriptions

    listed = dict(re.findall(r"^\| `(CAPTIONER_\w+)` \| (.*) \|$", README, flags=re.MULTILINE))
    assert listed == descriptions()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_every_file_that_is_shown_is_there(path):
    assert (ROOT / path).is_file()


def test_every_command_of_make_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE)) <= targets
