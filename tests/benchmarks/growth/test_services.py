"""The curves of the service: clients of one, and replicas that share a PostgreSQL."""

import pytest

from benchmarks.growth import clients, replicas
from tests.support.benchmark_results import check_curve
from tests.support.servers import program


def test_clients_of_a_real_service_are_measured(tiny_served):
    results = clients.measure(None, quick=True)
    check_curve(clients, results, [1, 2])
    assert all(rate.median > 0 for rate in results.per_second)
    assert results.photo_kb > 1, "a photo of examples/ is kept with each caption"
    assert results.row_kb > 0.1


@pytest.mark.servers
def test_replicas_with_one_database_are_measured(tiny_served):
    for name in ("initdb", "postgres"):
        program(name)
    results = replicas.measure(None, quick=True)
    check_curve(replicas, results, [1, 2])
    assert all(of_photo.median > 0 for of_photo in results.replica_ms)
    assert results.clients == 2
    assert "A replica on a machine of its own answers" in replicas.report(results)


def test_a_missing_postgresql_is_named(monkeypatch):
    monkeypatch.setattr(replicas, "find_program", lambda name: None)
    assert replicas.missing() == "there is no initdb and no postgres: install PostgreSQL's server"
    monkeypatch.setattr(replicas, "find_program", lambda name: name)
    assert replicas.missing() is None
