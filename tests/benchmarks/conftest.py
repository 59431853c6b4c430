"""Fixtures of the speed benchmarks' tests."""

import pytest


@pytest.fixture(scope="session")
def shipped():
    """The shipped captioner, on the CPU."""
    import captioner

    return captioner.load(device="cpu")


@pytest.fixture
def tiny_served(tmp_path, monkeypatch):
    """Make the services of a test serve a tiny captioner, which starts in a second."""
    from stress.tiny_captioner import save_tiny_bundle

    save_tiny_bundle(tmp_path / "bundle")
    monkeypatch.setenv("CAPTIONER_BUNDLE", str(tmp_path / "bundle"))
    monkeypatch.setenv("CAPTIONER_DEVICE", "cpu")
