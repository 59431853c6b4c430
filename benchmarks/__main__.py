"""How fast the captioner learns and captions, beside others on the same machine.

    python -m benchmarks [--quick] [--only SECTION ...] [--output FOLDER] [--device D]

prints Markdown tables and writes results.json. Contestants take turns, so that what disturbs the machine disturbs all;
of a figure stand the median and, in brackets, the least and the most. Nothing else should be running. All of it takes
some tens of minutes on two CPU cores. The service and the kinds of attention have benchmarks of their own:
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
"""Modules, each with a TITLE, what it can `measure`, and a `report` of it. They are imported when they are needed: what
they import, each process that reads photos would import, too, for it begins with this file."""

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
    found = machine.described(model.device)
    print(machine.report(found))
    if options.quick:
        print("\nQuick: everything is so small that the figures say no more than that it works.")
    results: dict[str, Any] = {"machine": asdict(found), "quick": options.quick, "sections": {}}
    for name in options.only or SECTIONS:
        section = importlib.import_module(f"benchmarks.{SECTIONS[name]}")
        print(f"measuring: {section.TITLE}", file=sys.stderr)
        measured = section.measure(model, options.quick)
        print(f"\n## {section.TITLE}\n\n{section.report(measured)}", flush=True)
        results["sections"][name] = asdict(measured)
        write(results, options.output)
    return 0


def write(results: dict[str, Any], folder: Path) -> None:
    """After each section, so that a run that is stopped leaves what it has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only show that everything works, in a minute")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/benchmarks"), metavar="FOLDER",
        help="folder for results.json; default: runs/benchmarks",
    )  # fmt: skip
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ...; by default a GPU where there is one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
