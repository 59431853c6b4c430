"""Another captioner takes over while photos are being captioned, and no request is dropped."""

import threading
import time

import pytest

from captioner.bundle.bundle import DEFAULT_BUNDLE, load_bundle, save_bundle
from captioner.captioner import Captioner
from captioner.errors import BundleError
from service.inference.batching import Batcher
from service.store.database import Database
from service.store.fingerprint import model_version
from service.store.versions import BUILT_IN, Versions


@pytest.fixture
def bundles(make_bundle, tmp_path):
    folders = [tmp_path / f"bundle{seed}" for seed in (1, 2)]
    for seed, folder in enumerate(folders, start=1):
        save_bundle(make_bundle(seed=seed), folder)
    return folders


@pytest.fixture
def two(running, bundles):
    """The ids of two versions of the running service besides the built-in one."""
    return [running.service.versions.add(bundle, {"name": "x", "origin": "upload"}).id for bundle in bundles]


def caption(client, jpeg):
    response = client.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 201, response.text
    return response.json()["model"]["version"]


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_next_request_is_answered_by_the_promoted_version(running, two, jpeg, tiny_bundle):
    client, built_in = running.client, model_version(tiny_bundle)
    assert caption(client, jpeg) == built_in
    for version in (*two, two[0]):
        assert client.post(f"/api/models/{version}/promote").json()["current"] is True
        assert caption(client, jpeg) == version == client.get("/api/models/current").json()["version"]
    assert client.post("/api/models/rollback").json()["version"] == two[1]
    assert caption(client, jpeg) == two[1]
    client.post("/api/models/built-in/promote")
    assert caption(client, jpeg) == built_in


def test_a_captioner_whose_warm_up_fails_is_not_used_and_leaves_no_thread(running, two, monkeypatch):
    def fail():
        raise MemoryError

    service = running.service
    batcher = Batcher(service.serving.captioner, 1, 0.0, 1, on_start=fail)
    monkeypatch.setattr(service.switch, "_make_batcher", lambda captioner: batcher)
    before = service.serving
    with pytest.raises(MemoryError):
        service.switch.promote(two[0])
    assert service.serving is before and not batcher.alive


def test_closing_waits_for_the_queues_of_earlier_captioners(running, two, monkeypatch):
    service, ended = running.service, threading.Event()
    previous = service.serving.batcher
    close = previous.close

    def close_late(seconds):
        time.sleep(0.5)
        close(seconds)
        ended.set()

    monkeypatch.setattr(previous, "close", close_late)
    service.switch.promote(two[0])
    service.switch.close()
    assert ended.is_set()


@pytest.mark.stress
def test_no_request_is_dropped_while_captioners_change(running, two, jpeg):
    answered, wrong, stop = [], [], threading.Event()

    def keep_asking():
        while not stop.is_set():
            response = running.client.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"})
            if response.status_code == 201:
                answered.append(response.json()["model"]["version"])
            else:
                wrong.append(response.text)

    threads = [threading.Thread(target=keep_asking) for _ in range(6)]
    for thread in threads:
        thread.start()
    for number in range(8):
        assert running.client.post(f"/api/models/{two[number % 2]}/promote").status_code == 200
        count = len(answered)
        wait_until(lambda: two[number % 2] in answered[count:])  # noqa: B023  (called at once)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and set(two) <= set(answered)


def test_a_version_promoted_by_another_process_is_soon_used(running, two, jpeg):
    settings = running.service.settings
    database = Database(settings.database, settings.home)
    others = Versions(database, settings.home, DEFAULT_BUNDLE)
    others.promote(two[0])
    wait_until(lambda: caption(running.client, jpeg) == two[0])
    others.rollback()
    wait_until(lambda: caption(running.client, jpeg) != two[0])
    database.close()


def test_an_unusable_version_never_becomes_current(running, two, jpeg):
    (running.service.versions.get(two[1]).bundle / "model.safetensors").write_bytes(b"x")
    running.client.post(f"/api/models/{two[0]}/promote")
    response = running.client.post(f"/api/models/{two[1]}/promote")
    assert response.status_code == 422 and "damaged" in response.json()["detail"]
    assert running.service.versions.current.id == two[0] == caption(running.client, jpeg)
    running.service.versions.promote(two[1])  # forced; the service keeps its captioner
    time.sleep(1.2)
    assert caption(running.client, jpeg) == two[0]
    running.service.versions.promote(two[0])


def test_a_version_whose_files_changed_is_refused(running, two, bundles):
    folder = running.service.versions.get(two[0]).bundle
    (folder / "model.safetensors").write_bytes((bundles[1] / "model.safetensors").read_bytes())
    with pytest.raises(BundleError, match="changed after it became version"):
        running.service.switch.promote(two[0])


def test_a_restart_loads_the_promoted_version_or_falls_back_to_the_built_in_one(start, bundles, jpeg, caplog):
    first = start()
    version = first.service.versions.add(bundles[0], {"name": "x", "origin": "upload"})
    first.client.post(f"/api/models/{version.id}/promote")
    assert caption(start().client, jpeg) == version.id
    (version.bundle / "vocabulary.json").unlink()
    third = start()
    assert third.service.serving.version == BUILT_IN and "cannot be used, the built-in captioner is used" in caplog.text
    assert caption(third.client, jpeg) != version.id


def test_promoting_the_current_version_changes_nothing(running, two):
    running.client.post(f"/api/models/{two[0]}/promote")
    serving = running.service.serving
    running.client.post(f"/api/models/{two[0]}/promote")
    assert running.service.serving is serving


def test_maps_and_streams_have_the_grid_of_the_version_that_captioned(start, tiny_config, bundles, jpeg):
    running = start()
    assert isinstance(running.service.serving.captioner, Captioner)
    version = running.service.versions.add(bundles[0], {"name": "x", "origin": "upload"})
    assert model_version(load_bundle(version.bundle)) == version.id
    running.client.post(f"/api/models/{version.id}/promote")
    with running.client.stream(
        "POST", "/api/captions?stream=1", content=jpeg, headers={"Content-Type": "image/jpeg"}
    ) as response:
        text = response.read().decode()
    assert f'"version":"{version.id}"' in text.replace(" ", "")
