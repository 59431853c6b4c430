"""Captions that a service stores."""

import httpx


def create_caption(client: httpx.Client, jpeg: bytes) -> dict:
    """Send a photo for two captions, and return the document of the answer."""
    response = client.post("/api/captions?captions=2", content=jpeg, headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 201, response.text
    return response.json()
