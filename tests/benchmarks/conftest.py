"""Fixtures of the speed benchmarks' tests."""

import pytest


@pytest.fixture(scope="session")
def shipped():
    """The shipped captioner, on the CPU."""
    import captioner

    return captioner.load(device="cpu")
