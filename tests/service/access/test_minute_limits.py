"""Limits per minute and client; replicas that share a Redis count together."""

import signal
import time

import pytest

from service.access import minute_limits
from service.access.minute_limits import MinuteLimit, client_of
from tests.support.servers import redis_address, redis_process


@pytest.fixture
def limits(tmp_path) -> list[MinuteLimit]:
    """The limits of two replicas."""
    return [MinuteLimit(4, "guesses", redis_address(tmp_path)) for _ in range(2)]


def counts(*limits: MinuteLimit, requests: int = 4) -> list[int | None]:
    return [limits[number % len(limits)].count("a") for number in range(requests)]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1%eth0", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("localhost", "localhost"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_ipv6_network_counts_as_one_client(address, client):
    assert client_of(address) == client


def test_refused_requests_do_not_count(limits):
    limit = MinuteLimit(4, "guesses")
    assert limit.seconds_to_wait("a") is None
    assert counts(limit) == [None] * 4
    assert 1 <= limit.count("a") <= 60 and 1 <= limit.seconds_to_wait("a") <= 60
    assert limit.seconds_to_wait("b") is None and limit.count("b") is None


def test_replicas_count_together_and_limits_count_separately(limits, tmp_path):
    with redis_process(tmp_path):
        assert counts(*limits) == [None] * 4
        for limit in limits:
            assert 1 <= limit.count("a") <= 60 and 1 <= limit.seconds_to_wait("a") <= 60
            assert limit.count("b") is None
        assert MinuteLimit(4, "requests", redis_address(tmp_path)).count("a") is None


def test_replicas_count_alone_while_redis_is_away_and_together_afterwards(limits, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(minute_limits, "_RETRY_SECONDS", 0.3)
    with redis_process(tmp_path):
        assert counts(*limits) == [None] * 4 and limits[0].count("a")
    assert counts(limits[0]) == [None] * 4 and limits[0].count("a")
    assert "each process counts guesses alone" in caplog.text
    with redis_process(tmp_path):
        time.sleep(0.4)
        assert counts(*limits) == [None] * 4, "the restarted Redis is empty"
        assert limits[0].count("a") and limits[1].count("a")


def test_a_hanging_redis_delays_one_request_briefly(limits, tmp_path):
    with redis_process(tmp_path) as redis:
        assert limits[0].count("a") is None
        redis.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert limits[0].count("a") is None
            waited = time.monotonic() - started
            started = time.monotonic()
            assert counts(limits[0], requests=3) == [None] * 3
            assert time.monotonic() - started < waited < 20, "Redis is waited for once"
        finally:
            redis.send_signal(signal.SIGCONT)
