"""Ranks are read from torchrun's environment and share names. Sharing by real processes is in bulk/test_run.py."""

import pytest

from captioner.ranks import ALONE, Ranks, connected

TOLD = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip


@pytest.fixture(autouse=True)
def untold(monkeypatch):
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)


def test_the_rank_is_read_from_torchruns_environment(monkeypatch):
    assert Ranks.from_environment() == ALONE
    for name, value in TOLD.items():
        monkeypatch.setenv(name, value)
    assert Ranks.from_environment() == Ranks(rank=5, size=8, local_rank=1, local_size=4)


def test_a_single_process_waits_for_no_rank_and_has_every_name():
    with connected(ALONE):
        ALONE.barrier()
    assert all(ALONE.owns(str(number)) for number in range(100))


def test_every_name_belongs_to_one_rank_and_shares_are_even():
    shares = [sum(Ranks(rank, 4).owns(f"photo-{number}.jpg") for number in range(4000)) for rank in range(4)]
    assert sum(shares) == 4000 and max(shares) - min(shares) < 200
