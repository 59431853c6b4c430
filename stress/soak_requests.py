"""Requests of a soak: valid, invalid and unfinished ones, each with its allowed answers."""

import base64
import json
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from captioner.translation.bundle_json import shipped_translators
from stress.tiny_service import tiny_photo

LANGUAGES = tuple(shipped_translators())
"""Languages of the translators that ship."""
_JPEG = {"Content-Type": "image/jpeg"}
_GONE = 404
"""Answer about a caption that another request or the history's limit has removed."""
_LIMITED = (401, 429)
"""Wrong tokens; beyond ten a minute, right ones from the same address are refused as well."""
_MAX_CAPTION_IDS = 200
"""Number of captions remembered for later requests."""


@dataclass
class Visitor:
    """One client with the data of its requests and the ids of captions that it knows."""

    client: httpx.Client
    rng: random.Random
    photos: Sequence[bytes]
    caption_ids: list[str] = field(default_factory=list)

    def pick_caption_id(self) -> str:
        """Return the id of a caption, or an unknown one if there is none yet."""
        return self.rng.choice(self.caption_ids) if self.caption_ids else "0" * 32

    def remember(self, caption_id: str) -> None:
        self.caption_ids.append(caption_id)
        del self.caption_ids[:-_MAX_CAPTION_IDS]


Answer = tuple[int, Sequence[int]]
"""A status and the allowed ones; 0 if the client did not wait for one."""


def _record_caption(visitor: Visitor, response: httpx.Response) -> Answer:
    if response.status_code == 201:
        visitor.remember(response.json()["id"])
    return response.status_code, [201]


def caption(visitor: Visitor) -> Answer:
    photo = visitor.rng.choice(visitor.photos)
    return _record_caption(visitor, visitor.client.post("/api/captions", content=photo, headers=_JPEG))


def caption_by_form(visitor: Visitor) -> Answer:
    options = {"beam_width": str(visitor.rng.randint(2, 5)), "captions": "2"}
    photo = visitor.rng.choice(visitor.photos)
    return _record_caption(visitor, visitor.client.post("/api/captions", files={"image": photo}, data=options))


def caption_by_json(visitor: Visitor) -> Answer:
    image = base64.b64encode(visitor.rng.choice(visitor.photos)).decode()
    return _record_caption(visitor, visitor.client.post("/api/captions", json={"image": image}))


def caption_streamed(visitor: Visitor) -> Answer:
    photo = visitor.rng.choice(visitor.photos)
    response = visitor.client.post("/api/captions?stream=1", content=photo, headers=_JPEG)
    *_, last_event = response.text.strip().split("\n\n")
    if not last_event.startswith("event: caption\n"):
        return 500, [200]
    visitor.remember(json.loads(last_event.partition("data: ")[2])["id"])
    return response.status_code, [200]


def bad_caption(visitor: Visitor) -> Answer:
    photo = visitor.rng.choice(visitor.photos)
    body, kind, query, status = visitor.rng.choice([
        (b"no photo at all", "image/jpeg", "", 415),
        (photo[: len(photo) // 20], "image/jpeg", "", 422),
        (b"", "image/jpeg", "", 400),
        (photo, "text/plain", "", 415),
        (photo, "image/jpeg", "?beam_width=0", 422),
        (photo, "image/jpeg", "?no_such_option=1", 422),
        (b"{", "application/json", "", 400),
        (bytes(1_100_000), "image/jpeg", "", 413),
    ])  # fmt: skip
    response = visitor.client.post(f"/api/captions{query}", content=body, headers={"Content-Type": kind})
    return response.status_code, [status]


def history(visitor: Visitor) -> Answer:
    page = visitor.rng.randint(1, 4)
    return visitor.client.get(f"/api/captions?per_page=20&page={page}").status_code, [200]


def get_caption(visitor: Visitor) -> Answer:
    return visitor.client.get(f"/api/captions/{visitor.pick_caption_id()}").status_code, [200, _GONE]


def correct(visitor: Visitor) -> Answer:
    path = f"/api/captions/{visitor.pick_caption_id()}/correction"
    response = visitor.client.put(path, json={"text": f"a dog {visitor.rng.random()}"})
    return response.status_code, [200, _GONE]


def remove_correction(visitor: Visitor) -> Answer:
    return visitor.client.delete(f"/api/captions/{visitor.pick_caption_id()}/correction").status_code, [204, _GONE]


def occlusion_maps(visitor: Visitor) -> Answer:
    return visitor.client.get(f"/api/captions/{visitor.pick_caption_id()}/evidence").status_code, [200, _GONE]


def steps(visitor: Visitor) -> Answer:
    return visitor.client.get(f"/api/captions/{visitor.pick_caption_id()}/steps").status_code, [200, _GONE]


def translate(visitor: Visitor) -> Answer:
    text, status = visitor.rng.choice([("a dog runs", 200), ("two people on a bench .", 200), ("...", 422), ("", 422)])
    body = {"text": text, "language": visitor.rng.choice(LANGUAGES), "translations": visitor.rng.randint(1, 3)}
    return visitor.client.post("/api/translations", json=body).status_code, [status]


def translated_caption(visitor: Visitor) -> Answer:
    path = f"/api/captions/{visitor.pick_caption_id()}?language={visitor.rng.choice(LANGUAGES)}"
    return visitor.client.get(path).status_code, [200, _GONE]


def picture(visitor: Visitor) -> Answer:
    name = visitor.rng.choice(
        [
            "image", "image?size=48", "overlays/1.png", "overlays/1.png?maps=evidence", "figure.png",
            f"matrix.png?language={visitor.rng.choice(LANGUAGES)}",
        ]
    )  # fmt: skip
    return visitor.client.get(f"/api/captions/{visitor.pick_caption_id()}/{name}").status_code, [200, _GONE]


def health(visitor: Visitor) -> Answer:
    path = visitor.rng.choice(["/api/health/live", "/api/health/ready", "/metrics", "/api/models/current", "/"])
    return visitor.client.get(path).status_code, [200]


def wrong_url(visitor: Visitor) -> Answer:
    method, path, status = visitor.rng.choice([("GET", "/nowhere", 404), ("PATCH", "/api/captions", 405)])
    return visitor.client.request(method, path).status_code, [status]


def wrong_token(visitor: Visitor) -> Answer:
    headers = {"Authorization": f"Bearer {visitor.rng.random()}"}
    return visitor.client.get("/api/datasets", headers=headers).status_code, _LIMITED


def delete(visitor: Visitor) -> Answer:
    return visitor.client.delete(f"/api/captions/{visitor.pick_caption_id()}").status_code, [204, _GONE, *_LIMITED]


def cancelled_upload(visitor: Visitor) -> Answer:
    """A client that leaves in the middle of a photo."""
    photo = visitor.rng.choice(visitor.photos)
    _send_and_disconnect(visitor, photo, photo[: visitor.rng.randrange(len(photo))])
    return 0, [0]


def unread_answer(visitor: Visitor) -> Answer:
    """A client that leaves without waiting for its caption."""
    photo = visitor.rng.choice(visitor.photos)
    _send_and_disconnect(visitor, photo, photo)
    return 0, [0]


def unread_stream(visitor: Visitor) -> Answer:
    """A client that leaves after the first event."""
    photo = visitor.rng.choice(visitor.photos)
    with visitor.client.stream("POST", "/api/captions?stream=1", content=photo, headers=_JPEG) as response:
        next(response.iter_raw())
        return response.status_code, [200]


def _send_and_disconnect(visitor: Visitor, photo: bytes, body: bytes) -> None:
    address = urlsplit(str(visitor.client.base_url))
    head = "POST /api/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    head += f"Content-Length: {len(photo)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)


KINDS: dict[Callable[[Visitor], Answer], int] = {
    caption: 14, caption_by_form: 5, caption_by_json: 5, caption_streamed: 5, bad_caption: 10, history: 8,
    get_caption: 7, correct: 7, remove_correction: 2, occlusion_maps: 4, steps: 2, translate: 4, translated_caption: 2,
    picture: 8, health: 5, wrong_url: 2, wrong_token: 2, delete: 2, cancelled_upload: 3, unread_answer: 2,
    unread_stream: 1,
}  # fmt: skip
"""Actions of a visitor, with their weights in percent."""


def visit(visitor: Visitor) -> tuple[str, Answer]:
    """Send one random request -> its kind and its result."""
    (kind,) = visitor.rng.choices(list(KINDS), list(KINDS.values()))
    return kind.__name__, kind(visitor)


def photos() -> list[bytes]:
    """Photos of several sizes, so that memory is allocated in many pieces."""
    sizes = [(96, 72), (320, 240), (1024, 768), (600, 1600)]
    return [tiny_photo(number, sizes[number % len(sizes)]) for number in range(24)]
