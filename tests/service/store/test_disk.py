"""The size limit of the data folder."""

import pytest

from service.store import disk as storage
from service.store.disk import Storage, StorageFull, size_of
from tests.support.photo_sets import photo_set, zipped
from tests.support.pictures import picture_bytes


def test_the_size_of_a_folder_is_measured(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(bytes(23))
    (tmp_path / "link").symlink_to(tmp_path / "none")
    assert 123 <= size_of(tmp_path) < 1000
    assert size_of(tmp_path / "none") == 0


def test_without_a_limit_everything_fits(tmp_path):
    free = Storage(tmp_path, None)
    free.reserve(10**15)
    assert free.free_bytes(5) == 5


def test_reserved_space_counts_until_the_next_measurement(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(bytes(400))
    limited = Storage(tmp_path, 1000)
    assert limited.free_bytes(10_000) == 600
    limited.reserve(500)
    assert limited.free_bytes(10_000) == 100
    with pytest.raises(StorageFull, match="delete captions, data sets, collections or trainings"):
        limited.reserve(101)
    monkeypatch.setattr(storage, "_FRESH_SECONDS", -1)
    assert limited.free_bytes(10_000) == 600, "nothing was stored"


def test_the_message_of_a_folder_with_a_limit_of_its_own_says_what_to_delete(tmp_path):
    with pytest.raises(StorageFull, match="the folder holds 0 MB, and its limit is 0 MB: delete some"):
        Storage(tmp_path, 0, "the folder holds", "delete some").reserve(1)


def test_a_full_home_refuses_uploads_and_answers_everything_else(start):
    running = start(max_home_mb=1)
    photo = {"image": ("a.jpg", picture_bytes())}
    created = running.client.post("/api/captions", files=photo)
    assert created.status_code == 201
    large = running.client.post(
        "/api/datasets",
        content=zipped({**photo_set(2), "large.bin": bytes(1_000_000)}),
        headers={"Content-Type": "application/zip"},
    )
    assert large.status_code == 507 and "its limit is 1 MB" in large.json()["detail"]
    (running.service.settings.home / "large.bin").write_bytes(bytes(1_000_000))
    running.service.storage._measured_at = -float("inf")
    response = running.client.post("/api/captions", files=photo)
    assert response.status_code == 507 and response.headers["Content-Type"] == "application/problem+json"
    assert running.client.get(f"/api/captions/{created.json()['id']}").status_code == 200
    assert running.client.delete(f"/api/captions/{created.json()['id']}").status_code == 204
