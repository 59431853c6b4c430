"""Prometheus metrics of the service."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

STAGES = ("decode_image", "queue", "encode", "decode_words")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Metrics of one app. Each app has its own registry, so that one process can run several."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, queue_depth: Callable[[], int]) -> None:
        """queue_depth: called whenever the metrics are read."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "captioner_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._request_seconds = Histogram(
            "captioner_request_seconds",
            "Time from the receipt of a request to the start of its response.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stage_seconds = Histogram(
            "captioner_stage_seconds",
            "Time per captioned photo: decoding the image, queue, encoding, decoding words.",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        for stage in STAGES:
            self._stage_seconds.labels(stage)  # exported from the start, at zero
        self._batch_size = Histogram(
            "captioner_batch_size", "Number of photos in a forward pass.", buckets=_SIZES, registry=self._registry
        )
        Gauge("captioner_queue_depth", "Number of queued photos.", registry=self._registry).set_function(queue_depth)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def stages(self, seconds: dict[str, float]) -> None:
        """Observe the seconds of each of `STAGES` of one photo."""
        for stage in STAGES:
            self._stage_seconds.labels(stage).observe(seconds[stage])

    def batch(self, size: int) -> None:
        self._batch_size.observe(size)

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return generate_latest(self._registry)
