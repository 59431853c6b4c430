"""`python -m benchmarks` prints its measurements and writes them to a file."""

import importlib
import json

import pytest

from benchmarks import __main__ as command
from benchmarks import attention_cost, machine
from benchmarks.__main__ import main
from benchmarks.attention_cost import Results
from benchmarks.growth import beam_width
from benchmarks.machine import Machine
from benchmarks.stored import rebuild


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


def measured_in(output, *parts):
    return main(["--quick", "--only", *parts, "--device", "cpu", "--output", str(output)])


def test_a_part_writes_its_table_and_its_plot(tmp_path, capsys):
    assert measured_in(tmp_path, "beam_width") == 0
    table = (tmp_path / "beam_width.md").read_text(encoding="utf-8")
    assert table.strip() in capsys.readouterr().out
    assert table.startswith(f"## {beam_width.TITLE}\n") and "(figures/beam_width.png)" in table
    assert (tmp_path / "figures" / "beam_width.png").is_file()


def test_a_part_that_fails_does_not_lose_the_others(tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise ValueError("broken")

    monkeypatch.setattr("benchmarks.limits.measure", fail)
    assert measured_in(tmp_path, "limits", "attention_cost") == 1
    assert list(json.loads((tmp_path / "results.json").read_text())["sections"]) == ["attention_cost"]
    errors = capsys.readouterr().err
    assert "ValueError: broken" in errors and "these parts failed, see above: limits" in errors


def test_a_summary_is_of_all_its_parts_also_of_earlier_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(command.SUMMARIES, "growth", ("growth.capacity", ("beam_width", "memory")))
    monkeypatch.setattr("benchmarks.growth.memory.missing", lambda bulk_photos: "not here", raising=False)
    assert measured_in(tmp_path, "attention_cost") == 0
    assert measured_in(tmp_path, "growth") == 0
    assert list(json.loads((tmp_path / "results.json").read_text())["sections"]) == ["attention_cost", "beam_width"]
    printed = capsys.readouterr()
    assert "left out: Memory of a bulk run against photos: not here" in printed.err
    assert (tmp_path / "growth.md").read_text(encoding="utf-8").strip() in printed.out
    assert "10,000,000 photos a day" in printed.out


def test_every_part_and_every_part_of_a_summary_exists():
    for path in (*command.SECTIONS.values(), *(path for path, _ in command.SUMMARIES.values())):
        section = importlib.import_module(f"benchmarks.{path}")
        assert section.TITLE and callable(section.report)
    assert {part for _, parts in command.SUMMARIES.values() for part in parts} <= set(command.SECTIONS)
    assert set(command.OPTIONS) <= set(command.SECTIONS)
