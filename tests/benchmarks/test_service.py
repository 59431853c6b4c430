"""The service benchmark runs against the real service and reports its measurements."""

import json

from benchmarks.service import Load, main, report


def test_the_benchmark_measures_a_real_service(tmp_path, capsys):
    output = tmp_path / "figures" / "service.json"
    arguments = ["--clients", "1", "2", "--photos", "4", "--memory-requests", "10", "--output", str(output)]
    assert main(arguments) == 0
    figures = json.loads(output.read_text())
    assert figures["first_ready_seconds"] > 0
    for batching in ("on", "off"):
        loads = [Load(**load) for load in figures["loads"][batching]]
        assert [load.clients for load in loads] == [1, 2]
        for load in loads:
            assert 0 < load.median_ms <= load.p95_ms
            assert 0 < load.per_second < load.clients * 1000 / load.median_ms * 4
    assert len(figures["memory_mb"]) == 11 and min(figures["memory_mb"]) > 100
    printed = capsys.readouterr().out
    assert printed.strip() == report(figures).strip() and "| 2 | off |" in printed
