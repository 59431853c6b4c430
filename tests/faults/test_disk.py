"""On a full or read-only disk the service reports the fault, still does what needs no space, and recovers."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.settings import Settings
from stress.tiny_service import ROOT, TinyService, start_service, tiny_data_set, tiny_photo
from tests.service.jobs.test_training import ZIP

JPEG = {"Content-Type": "image/jpeg"}


def caption(client):
    return client.post("/api/captions", content=tiny_photo(0, (640, 480)), headers=JPEG)


@pytest.fixture(scope="module")
def service(small_disk, bundle, tmp_path_factory) -> Iterator[TinyService]:
    """A service with its data on the small disk. Each test leaves it working."""
    log = tmp_path_factory.mktemp("service") / "log"
    started = start_service(small_disk.path, bundle, log, small_disk.within, {"CAPTIONER_MAX_UPLOAD_MB": "1"})
    yield started
    started.kill()


def test_a_full_disk_refuses_uploads_and_keeps_the_rest_readable(small_disk, service, wait_for):
    client = service.client
    wait_for(client)
    document = caption(client).json()
    photos_before = set((small_disk.outside / "photos").iterdir())
    filler = small_disk.fill()
    assert "full" in wait_for(client, "disk")["disk"]

    for response in (
        caption(client),
        client.put(f"/api/captions/{document['id']}/correction", json={"text": "word " * 100}),
        client.post("/api/datasets", content=tiny_data_set(), headers=ZIP),
    ):
        assert response.status_code == 507 and "disk" in response.json()["detail"], response.text
    assert set((small_disk.outside / "photos").iterdir()) == photos_before
    assert not list((small_disk.outside / "datasets").iterdir())

    assert client.get("/api/captions").json()["total"] == 1, "stored captions can be read"
    assert client.get(f"/api/captions/{document['id']}").json() == document
    image, word = document["image"], document["words"][0]
    for address in (image["url"], image["thumbnail"], word["overlay"], document["figure"]):
        assert client.get(address).status_code == 200
    assert client.get("/api/health/live").status_code == 200
    assert client.delete(f"/api/captions/{document['id']}").status_code in (204, 507)

    filler.unlink()
    wait_for(client)
    assert caption(client).status_code == 201


def test_a_nearly_full_disk_still_takes_small_photos(small_disk, service, wait_for):
    """There is room for a small photo, and not for the largest allowed upload."""
    filler = small_disk.fill()
    with open(filler, "r+b") as file:
        file.truncate(filler.stat().st_size - 500_000)
    assert "only 0." in wait_for(service.client, "disk")["disk"]
    assert caption(service.client).status_code == 201
    filler.unlink()
    wait_for(service.client)


def test_a_disk_that_turns_read_only_refuses_photos_and_recovers(small_disk, service, wait_for):
    client, photos = service.client, str(small_disk.path / "photos")
    total_before = client.get("/api/captions").json()["total"]
    document = caption(client).json()
    small_disk.run("mount", "--bind", photos, photos)
    small_disk.run("mount", "-o", "remount,bind,ro", photos)
    assert "Read-only" in wait_for(client, "disk")["disk"]
    response = caption(client)
    assert response.status_code == 503 and "disk" in response.json()["detail"]
    assert client.get("/api/captions").json()["total"] == total_before + 1
    assert client.get(document["image"]["url"]).status_code == 200
    correction = client.put(f"/api/captions/{document['id']}/correction", json={"text": "a dog"})
    assert correction.status_code == 200, "the database can be written"
    small_disk.run("umount", photos)
    wait_for(client)
    assert caption(client).status_code == 201


def test_a_home_on_a_read_only_disk_is_refused_in_one_sentence(small_disk, bundle):
    home = str(small_disk.path / "other")
    small_disk.run("mkdir", home)
    small_disk.run("mount", "--bind", home, home)
    small_disk.run("mount", "-o", "remount,bind,ro", home)
    settings = Settings(home=home, bundle=bundle, port=0)
    command = [*small_disk.within, "env", *(f"{name}={value}" for name, value in settings.environment().items())]
    result = subprocess.run([*command, sys.executable, "-m", "service"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: the service cannot store its data in ") and "Traceback" not in result.stderr
    assert "Read-only file system" in result.stderr and "CAPTIONER_HOME" in result.stderr
