"""`python -m benchmarks` prints its measurements and writes them to a file."""

import json

import pytest

from benchmarks import attention_cost, machine
from benchmarks.__main__ import main
from benchmarks.attention_cost import Results
from benchmarks.machine import Machine
from tests.support.benchmark_results import rebuild


def test_sections_are_printed_and_written(tmp_path, capsys):
    output = tmp_path / "runs" / "speed"
    assert main(["--quick", "--only", "attention_cost", "--device", "cpu", "--output", str(output)]) == 0
    values = json.loads((output / "results.json").read_text())
    assert values["quick"] and list(values["sections"]) == ["attention_cost"]
    printed = capsys.readouterr().out
    assert attention_cost.report(rebuild(Results, values["sections"]["attention_cost"])) in printed
    assert machine.report(rebuild(Machine, values["machine"])) in printed
    assert "Quick:" in printed


def test_a_missing_device_is_reported(tmp_path, capsys):
    assert main(["--quick", "--device", "nonsense", "--output", str(tmp_path)]) == 2
    assert "the device nonsense cannot be used" in capsys.readouterr().err


def test_an_unknown_section_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])
    assert "attention_cost" in capsys.readouterr().err
