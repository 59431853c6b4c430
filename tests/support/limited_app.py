"""An app with two costly routes, to count requests from chosen addresses."""

from flask import Flask

from service.access.rates import limit_rates


class LimitedApp:
    """An app with the rate limits of the service."""

    def __init__(self, per_minute: int, redis_url: str | None = None, upload_bytes: int = 20_000_000) -> None:
        app = Flask(__name__)
        app.testing = True
        for path in ("/api/captions", "/api/collections"):
            app.add_url_rule(path, path, lambda: "captioned", methods=["POST"])
        limit_rates(app, per_minute, redis_url, upload_bytes)
        self._client = app.test_client()

    def count(self, address: str, path: str = "/api/captions", body: bytes = b"") -> None:
        """Send a costly request from an address. Raises RateLimitExceeded beyond the limit."""
        answer = self._client.post(path, data=body, environ_overrides={"REMOTE_ADDR": address})
        assert answer.text == "captioned"
