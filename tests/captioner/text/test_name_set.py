"""A set of names that takes eight bytes per name."""

import os

import numpy as np
import pytest

from captioner.text import name_set
from captioner.text.name_set import NameSet, name_hash


def test_the_set_stays_correct_when_most_of_it_is_sorted(monkeypatch):
    monkeypatch.setattr(name_set, "_MAX_RECENT", 16)
    names, rng = NameSet(), np.random.default_rng(0)
    expected: set[str] = set()
    for number in rng.integers(0, 500, 2000):
        name = f"folder/{number}.jpg"
        assert (name in names) == (name in expected)
        assert names.add(name) == (name not in expected)
        expected.add(name)
    assert len(names) == len(expected) and names._sorted.nbytes <= 8 * len(expected)
    assert all(name in names for name in expected) and "folder/500.jpg" not in names
    assert any(name_hash(name) >= 2**63 for name in expected)  # where floats could not distinguish two numbers


@pytest.mark.parametrize("name", ["é.jpg", os.fsdecode(b"caf\xe9.jpg"), ""])
def test_a_name_need_not_be_text(name):
    names = NameSet()
    assert names.add(name) and not names.add(name)


def test_a_hash_is_the_same_on_every_machine():
    assert name_hash("a") == 4681665781835383343  # later runs and runs on other machines share the work by it
