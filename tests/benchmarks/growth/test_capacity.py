"""The machines for 10 million photos a day are computed from the measured figures."""

import pytest

from benchmarks.growth import capacity, clients, memory, replicas
from benchmarks.growth.capacity import machines
from benchmarks.growth.curves import Curve
from benchmarks.machine import Machine
from benchmarks.timing import Spread

MACHINE = Machine("A CPU", 2, 23.6, "x86_64", "3.11.7", "2.6.0", 2, (), "cpu", None, False)
NOTHING = dict.fromkeys(("clients", "replicas", "memory"))


def same(value):
    return Spread(value, value, value)


@pytest.fixture
def measured():
    answers = Curve.of("clients", "ms", {1: [50.0], 16: [400.0]})
    rates = Curve.of("replicas", "photos per second", {1: [40.0], 2: [41.0], 3: [39.0]})
    megabytes = Curve.of("photos captioned", "MB", {100: [900.0], 1000: [1000.0]})
    database = (same(1.4), same(1.5), same(1.6))
    return {
        "clients": clients.Results(answers, (same(20.0), same(40.0)), 60.0, 15.0),
        "replicas": replicas.Results(rates, database, database, 20.0, 2, 16),
        "memory": memory.Results(megabytes, 80.0, 120.0),
    }


def test_machines_are_rounded_up():
    assert machines(1e9) == 1
    assert machines(10_000_000 / 86_400 / 0.7) == 1
    assert machines(10_000_000 / 86_400 / 0.7 * 0.99) == 2


def test_needs_are_computed_from_the_figures(measured):
    report = capacity.report(measured, MACHINE)
    assert "| service: machines with 2 cores | 40.0 photos/s with 16 clients | 116 / (40.0 x 0.7) | 5 |" in report
    assert "| service: cores of PostgreSQL | 1.40 ms per photo | 116 x 1.40 ms / 0.7 | 0.231 |" in report
    assert "200 GB database, 600 GB photos" in report, "10 million rows of 20 kB, and photos of 60 kB"
    assert "| folders: machines with 2 cores | 80.0 photos/s | 116 / (80.0 x 0.7) | 3 |" in report
    assert "| folders: captions.jsonl | 120 bytes a line | 10,000,000 x 120 bytes | 1.20 GB a day |" in report


def test_a_replica_must_be_worth_its_memory(measured):
    row = next(line for line in capacity.report(measured, MACHINE).splitlines() if "replicas on each machine" in line)
    assert row.endswith("| 1 |"), "two give 2.5 % more"


def test_missing_figures_are_named(measured):
    report = capacity.report(NOTHING, MACHINE)
    assert report.count("not measured") == 5
    assert "row 15.0 kB" in capacity.report(measured | {"replicas": None}, MACHINE), "SQLite's, without PostgreSQL"
