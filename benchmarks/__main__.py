"""Measure the speed of training and captioning, compared with others on the same machine.

    python -m benchmarks [--quick] [--only SECTION ...] [--output FOLDER] [--device D]

prints Markdown tables and writes results.json. Contestants take turns, so that a disturbance of the machine affects
all of them; a result is the median with the least and the most in brackets. Nothing else should be running. The whole
run takes some tens of minutes on two CPU cores. The service and the kinds of attention have their own benchmarks:
`python -m benchmarks.service` and `python -m benchmarks.attention`.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import captioner
from captioner.errors import CaptionerError
from captioner.model.allocator import keep_freed_memory

SECTIONS = {
    "training": "training_speed",
    "devices": "devices",
    "one_photo": "one_photo",
    "many_photos": "many_photos",
    "encoder": "encoder_runtimes",
    "limits": "limits",
    "attention_cost": "attention_cost",
}
"""Modules with a TITLE and the functions `measure` and `report`. They are imported only when they run: each process
that reads photos starts with this file, and would import all of them."""

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    keep_freed_memory()
    try:
        model = captioner.load(device=options.device)
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    machine = importlib.import_module("benchmarks.machine")
    details = machine.describe(model.device)
    print(machine.report(details))
    if options.quick:
        print("\nQuick: sizes are so small that the results only show that everything works.")
    results: dict[str, Any] = {"machine": asdict(details), "quick": options.quick, "sections": {}}
    for name in options.only or SECTIONS:
        section = importlib.import_module(f"benchmarks.{SECTIONS[name]}")
        print(f"measuring: {section.TITLE}", file=sys.stderr)
        section_results = section.measure(model, options.quick)
        print(f"\n## {section.TITLE}\n\n{section.report(section_results)}", flush=True)
        results["sections"][name] = asdict(section_results)
        write(results, options.output)
    return 0


def write(results: dict[str, Any], folder: Path) -> None:
    """Write after each section, so that a stopped run keeps its results."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: check in a minute that everything works")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"some of {', '.join(SECTIONS)}")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/benchmarks"), metavar="FOLDER",
        help="folder for results.json; default: runs/benchmarks",
    )  # fmt: skip
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ...; default: a GPU if there is one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
