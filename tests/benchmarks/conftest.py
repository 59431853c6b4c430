"""What the tests of the benchmarks of speed start from."""

import pytest


@pytest.fixture(scope="session")
def shipped():
    """The captioner that ships, on the CPU."""
    import captioner

    return captioner.load(device="cpu")
