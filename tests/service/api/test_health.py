"""Health checks and metrics for operators."""

import re


def read_metrics(client) -> dict[str, float]:
    """Return every sample of /metrics by its name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200 and response.headers["Content-Type"].startswith("text/plain")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (re.fullmatch(r"(.*) (\S+)", line).groups() for line in lines)}


def test_a_running_service_is_alive_and_ready(client):
    assert (client.get("/api/health/live").status_code, client.get("/api/health/live").json()) == (
        200,
        {"status": "alive"},
    )
    assert (client.get("/api/health/ready").status_code, client.get("/api/health/ready").json()) == (
        200,
        {"status": "ready", "errors": []},
    )


def test_a_stopping_service_is_alive_and_not_ready(running):
    running.service.mark_stopping()
    response = running.client.get("/api/health/ready")
    assert response.status_code == 503 and response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
    assert running.client.get("/api/health/live").status_code == 200


def test_requests_stages_and_batches_are_counted(client, jpeg):
    before = read_metrics(client)
    for _ in range(3):
        assert client.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"}).status_code == 201
    client.get("/api/captions/nothing-here")
    after = read_metrics(client)

    def growth(name):
        return after[name] - before.get(name, 0)

    created = 'captioner_requests_total{method="POST",route="/api/captions",status="201"}'
    assert growth(created) == 3
    assert growth('captioner_requests_total{method="any",route="none",status="404"}') == 1
    for stage in ("decode_image", "queue", "encode", "decode_words"):
        assert growth(f'captioner_stage_seconds_count{{stage="{stage}"}}') == 3
    assert growth("captioner_batch_size_count") == 3 and growth("captioner_batch_size_sum") == 3
    assert after["captioner_queue_depth"] == 0
    assert after["process_resident_memory_bytes"] > 0
    assert growth('captioner_request_seconds_count{method="POST",route="/api/captions"}') == 3


def test_clients_cannot_create_counters(client):
    for number in range(5):
        client.request(f"MADE{number}", f"/made/up/{number}")
    assert not [name for name in read_metrics(client) if "made" in name.lower()]
