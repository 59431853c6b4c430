"""Clients of a service that is about to be killed: each does one kind of work and records the service's promises."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from stress.kill_journal import Journal
from stress.tiny_captioner import save_tiny_bundle
from stress.tiny_service import BRIEF, tiny_data_set, tiny_photo, zipped

ZIP = {"Content-Type": "application/zip"}
JPEG = {"Content-Type": "image/jpeg"}
MOST_DATASETS = 5
CAPTIONERS = 3
_KILLED = "ran out of memory"
"""The answer if a process that inspects a data set was killed, and the service was not."""
_PAUSE = 0.2
"""Maximum seconds between two actions of a client, so that others get their turn."""


@dataclass(frozen=True)
class Wares:
    """Contents of requests."""

    photos: list[bytes]
    data_set: bytes
    bundles: list[bytes]
    """Zips."""


def make_wares(folder: Path) -> Wares:
    bundles = []
    for seed in range(1, 1 + CAPTIONERS):
        save_tiny_bundle(folder / f"bundle{seed}", seed)
        bundles.append(zipped(folder / f"bundle{seed}"))
    return Wares([tiny_photo(number) for number in range(20)], tiny_data_set(), bundles)


@dataclass
class Round:
    """State shared by the clients of one round."""

    client: httpx.Client
    journal: Journal
    wares: Wares
    seed: int
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the service was killed."""
    answered: dict[str, int] = field(default_factory=dict)
    """Number of successful answers by kind of request."""
    wrong: list[str] = field(default_factory=list)
    """Answers that no client should get."""

    def ask(self, kind: str, method: str, path: str, allowed: tuple[int, ...] = (), **more) -> httpx.Response | None:
        """Send a request -> its answer if it is a success; None if it is not or was cut off by the kill."""
        try:
            response = self.client.request(method, path, **more)
        except httpx.TransportError:
            self.over.wait(0.05)
            return None
        if response.is_success:
            with self.journal.lock:
                self.answered[kind] = self.answered.get(kind, 0) + 1
            return response
        if response.status_code not in allowed and _KILLED not in response.text:
            self.wrong.append(f"{method} {path} was answered with {response.status_code}: {response.text[:300]}")
        return None

    def begin(self, *clients: "Callable[[Round, random.Random], None]") -> list[threading.Thread]:
        """Repeat the work of each client in its own thread until the round ends."""

        def again_and_again(client: "Callable[[Round, random.Random], None]", rng: random.Random) -> None:
            while not self.over.is_set():
                client(self, rng)

        threads = [
            threading.Thread(target=again_and_again, args=(client, random.Random(f"{self.seed} {number}")))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        return threads


def caption(life: Round, rng: random.Random) -> None:
    """Caption a photo, then correct one of all captions that no other client is correcting."""
    journal = life.journal
    made = life.ask("caption", "POST", "/api/captions", content=rng.choice(life.wares.photos), headers=JPEG)
    if made is not None:
        with journal.lock:
            journal.captions[made.json()["id"]] = made.json()["caption"]
            journal.corrections[made.json()["id"]] = {None}
    with journal.lock:
        free = sorted(journal.captions.keys() - journal.correcting)
        if not free:
            return
        caption_id, text = rng.choice(free), f"correction {rng.randrange(10**9)}"
        journal.correcting.add(caption_id)
        journal.corrections[caption_id] = journal.corrections[caption_id] | {text}
    path = f"/api/captions/{caption_id}/correction"
    life.over.wait(rng.uniform(0, _PAUSE))
    done = life.ask("correction", "PUT", path, json={"text": text}) is not None
    with journal.lock:
        journal.correcting.remove(caption_id)
        if done:
            journal.corrections[caption_id] = {text}


def upload(life: Round, rng: random.Random) -> None:
    """Upload a data set; of many, delete the oldest that no training needs."""
    journal = life.journal
    made = life.ask("data set", "POST", "/api/datasets?name=noise", content=life.wares.data_set, headers=ZIP)
    if made is not None:
        with journal.lock:
            journal.datasets[made.json()["id"]] = True
    with journal.lock:
        surplus = list(journal.datasets)[:-MOST_DATASETS]
    for dataset_id in surplus:
        with journal.lock:
            must = journal.datasets[dataset_id]
            journal.datasets[dataset_id] = False
        gone = life.ask("deletion", "DELETE", f"/api/datasets/{dataset_id}", allowed=(409,) if must else (404, 409))
        if gone is not None:
            with journal.lock:
                del journal.datasets[dataset_id]
                journal.deleted.add(dataset_id)


def promote(life: Round, rng: random.Random) -> None:
    """Upload a captioner, and promote one of all."""
    journal = life.journal
    sent = life.ask("captioner", "POST", "/api/models", content=rng.choice(life.wares.bundles), headers=ZIP)
    if sent is not None:
        with journal.lock:
            journal.versions.add(sent.json()["version"])
    with journal.lock:
        version = rng.choice(sorted({"built-in", *journal.versions}))
        journal.current = journal.current | {version}
    if life.ask("promotion", "POST", f"/api/models/{version}/promote") is not None:
        with journal.lock:
            journal.current = {version}


def train(life: Round, rng: random.Random) -> None:
    """Ensure that a training is queued or running, on an existing data set."""
    journal = life.journal
    listed = life.ask("list", "GET", "/api/trainings")
    if listed is None:
        return
    trainings = listed.json()["trainings"]
    if any(training["state"] in ("queued", "running") for training in trainings):
        life.over.wait(_PAUSE)
        return
    if trainings and trainings[0]["state"] == "failed":
        life.ask("resumption", "POST", f"/api/trainings/{trainings[0]['id']}/resume", allowed=(409,))
        return
    dataset = _data_set(life, rng)
    if dataset is None:
        return
    body = {"dataset": dataset, "options": BRIEF, "promote_margin": rng.choice([None, -100])}
    made = life.ask("training", "POST", "/api/trainings", allowed=(404,), json=body)
    if made is not None:
        with journal.lock:
            journal.trainings.add(made.json()["id"])


def _data_set(life: Round, rng: random.Random) -> str | None:
    with life.journal.lock:
        kept = [dataset for dataset, wanted in life.journal.datasets.items() if wanted]
    if kept:
        return kept[-1]
    upload(life, rng)
    return None
