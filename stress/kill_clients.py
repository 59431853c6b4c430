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
MAX_DATASETS = 5
CAPTIONERS = 3
_KILLED = "ran out of memory"
"""The answer if a process that inspects a data set was killed, and the service was not."""
_PAUSE = 0.2
"""Maximum seconds between two actions of a client, so that others get their turn."""


@dataclass(frozen=True)
class Payloads:
    """Contents of requests."""

    photos: list[bytes]
    data_set: bytes
    bundles: list[bytes]
    """Zips."""


def make_payloads(folder: Path) -> Payloads:
    bundles = []
    for seed in range(1, 1 + CAPTIONERS):
        save_tiny_bundle(folder / f"bundle{seed}", seed)
        bundles.append(zipped(folder / f"bundle{seed}"))
    return Payloads([tiny_photo(number) for number in range(20)], tiny_data_set(), bundles)


@dataclass
class RoundState:
    """State shared by the clients of one round."""

    client: httpx.Client
    journal: Journal
    payloads: Payloads
    seed: int
    killed: threading.Event = field(default_factory=threading.Event)
    """Set when the service was killed."""
    successes: dict[str, int] = field(default_factory=dict)
    """Number of successful answers by kind of request."""
    wrong_answers: list[str] = field(default_factory=list)
    """Answers that no client should get."""

    def send(
        self, kind: str, method: str, path: str, allowed: tuple[int, ...] = (), **options
    ) -> httpx.Response | None:
        """Send a request -> its answer if it is a success; None if it is not or was cut off by the kill."""
        try:
            response = self.client.request(method, path, **options)
        except httpx.TransportError:
            self.killed.wait(0.05)
            return None
        if response.is_success:
            with self.journal.lock:
                self.successes[kind] = self.successes.get(kind, 0) + 1
            return response
        if response.status_code not in allowed and _KILLED not in response.text:
            self.wrong_answers.append(
                f"{method} {path} was answered with {response.status_code}: {response.text[:300]}"
            )
        return None

    def start(self, *clients: "Callable[[RoundState, random.Random], None]") -> list[threading.Thread]:
        """Repeat the work of each client in its own thread until the round ends."""

        def repeat(client: "Callable[[RoundState, random.Random], None]", rng: random.Random) -> None:
            while not self.killed.is_set():
                client(self, rng)

        threads = [
            threading.Thread(target=repeat, args=(client, random.Random(f"{self.seed} {number}")))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        return threads


def caption(state: RoundState, rng: random.Random) -> None:
    """Caption a photo, then correct one of all captions that no other client is correcting."""
    journal = state.journal
    response = state.send("caption", "POST", "/api/captions", content=rng.choice(state.payloads.photos), headers=JPEG)
    if response is not None:
        with journal.lock:
            journal.captions[response.json()["id"]] = response.json()["caption"]
            journal.corrections[response.json()["id"]] = {None}
    with journal.lock:
        free = sorted(journal.captions.keys() - journal.correcting)
        if not free:
            return
        caption_id, text = rng.choice(free), f"correction {rng.randrange(10**9)}"
        journal.correcting.add(caption_id)
        journal.corrections[caption_id] = journal.corrections[caption_id] | {text}
    path = f"/api/captions/{caption_id}/correction"
    state.killed.wait(rng.uniform(0, _PAUSE))
    is_corrected = state.send("correction", "PUT", path, json={"text": text}) is not None
    with journal.lock:
        journal.correcting.remove(caption_id)
        if is_corrected:
            journal.corrections[caption_id] = {text}


def upload(state: RoundState, rng: random.Random) -> None:
    """Upload a data set; of many, delete the oldest that no training needs."""
    journal = state.journal
    response = state.send("data set", "POST", "/api/datasets?name=noise", content=state.payloads.data_set, headers=ZIP)
    if response is not None:
        with journal.lock:
            journal.datasets[response.json()["id"]] = True
    with journal.lock:
        surplus = list(journal.datasets)[:-MAX_DATASETS]
    for dataset_id in surplus:
        with journal.lock:
            must_exist = journal.datasets[dataset_id]
            journal.datasets[dataset_id] = False
        deletion = state.send(
            "deletion", "DELETE", f"/api/datasets/{dataset_id}", allowed=(409,) if must_exist else (404, 409)
        )
        if deletion is not None:
            with journal.lock:
                del journal.datasets[dataset_id]
                journal.deleted.add(dataset_id)


def promote(state: RoundState, rng: random.Random) -> None:
    """Upload a captioner, and promote one of all."""
    journal = state.journal
    response = state.send("captioner", "POST", "/api/models", content=rng.choice(state.payloads.bundles), headers=ZIP)
    if response is not None:
        with journal.lock:
            journal.versions.add(response.json()["version"])
    with journal.lock:
        version = rng.choice(sorted({"built-in", *journal.versions}))
        journal.current = journal.current | {version}
    if state.send("promotion", "POST", f"/api/models/{version}/promote") is not None:
        with journal.lock:
            journal.current = {version}


def train(state: RoundState, rng: random.Random) -> None:
    """Ensure that a training is queued or running, on an existing data set."""
    journal = state.journal
    response = state.send("list", "GET", "/api/trainings")
    if response is None:
        return
    trainings = response.json()["trainings"]
    if any(training["state"] in ("queued", "running") for training in trainings):
        state.killed.wait(_PAUSE)
        return
    if trainings and trainings[0]["state"] == "failed":
        state.send("resumption", "POST", f"/api/trainings/{trainings[0]['id']}/resume", allowed=(409,))
        return
    dataset = _pick_data_set(state, rng)
    if dataset is None:
        return
    body = {"dataset": dataset, "options": BRIEF, "promote_margin": rng.choice([None, -100])}
    created = state.send("training", "POST", "/api/trainings", allowed=(404,), json=body)
    if created is not None:
        with journal.lock:
            journal.trainings.add(created.json()["id"])


def _pick_data_set(state: RoundState, rng: random.Random) -> str | None:
    with state.journal.lock:
        existing = [dataset for dataset, must_exist in state.journal.datasets.items() if must_exist]
    if existing:
        return existing[-1]
    upload(state, rng)
    return None
