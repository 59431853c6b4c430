"""Measure the speed of training and captioning, compared with others on the same machine.

    python -m benchmarks [--quick] [--only PART ...] [--output FOLDER] [--data PATH] [--device D]

prints Markdown tables, and writes each part's table, plot and results to the folder as soon as they are measured.
Contestants take turns, so that a disturbance of the machine affects all of them; a result is the median with the least
and the most in brackets. Nothing else should be running. The whole run takes about an hour on two CPU cores. `waits`
and `growth` stand for several sections and a summary of them. Batching in the service and the kinds of attention have
their own benchmarks: `python -m benchmarks.service` and `python -m benchmarks.attention`.
"""

import argparse
import importlib
import signal
import sys
import textwrap
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import captioner
from captioner.commands.arguments import count
from captioner.errors import CaptionerError
from captioner.model.allocator import keep_freed_memory

if TYPE_CHECKING:
    from benchmarks.stored import StoredResults
    from captioner.captioner import Captioner

SECTIONS = {
    "training": "training_speed",
    "devices": "devices",
    "one_photo": "one_photo",
    "many_photos": "many_photos",
    "encoder": "encoder_runtimes",
    "limits": "limits",
    "attention_cost": "attention_cost",
    "start": "waits.start",
    "served": "waits.served",
    "folder": "waits.folder",
    "retraining": "waits.retraining",
    "beam_width": "growth.beam_width",
    "batch_size": "growth.batch_size",
    "locations": "growth.locations",
    "photo_size": "growth.photo_size",
    "clients": "growth.clients",
    "replicas": "growth.replicas",
    "memory": "growth.memory",
}
"""Modules with a TITLE, a dataclass `Results` and the functions `measure` and `report`; `curve` if there is something
to plot; `missing` if the section may have to be left out: it returns the reason. They are imported only when they run:
each process that reads photos starts with this file, and would import all of them."""

SUMMARIES = {
    "waits": ("waits.goals", ("limits", "start", "served", "one_photo", "folder", "retraining")),
    "growth": (
        "growth.capacity",
        ("beam_width", "batch_size", "locations", "photo_size", "clients", "replicas", "memory"),
    ),
}
"""Name -> module with a TITLE and the function `report`, and the sections that it is about."""

OPTIONS = {"retraining": "data", "memory": "bulk_photos"}
"""Section -> the option that `measure` and `missing` also get."""
FIGURES = "figures"
"""Folder of the plots, beside the tables."""
LINE_LENGTH = 120
FAILED, BAD_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen parts. Exit status: 0, 1 if a part failed, 2 for an error that the user can fix."""
    options = _parser().parse_args(arguments)
    keep_freed_memory()
    try:
        model = captioner.load(device=options.device)
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    machine = _module("machine")
    details = machine.describe(model.device)
    print(machine.report(details))
    if options.quick:
        print("\nQuick: sizes are so small that the results only show that everything works.")
    results = _module("stored").StoredResults(options.output, details, options.quick)
    chosen = options.only or [*SECTIONS, *SUMMARIES]
    names = dict.fromkeys(part for name in chosen for part in (SUMMARIES[name][1] if name in SUMMARIES else [name]))
    failed = [name for name in names if not _measure(name, model, options, results)]
    for name in SUMMARIES:
        if name in chosen:
            print(f"\n{_summary(name, results)}")
    if failed:
        print(f"error: these parts failed, see above: {', '.join(failed)}", file=sys.stderr)
    return FAILED if failed else 0


def _measure(name: str, model: "Captioner", options: argparse.Namespace, results: "StoredResults") -> bool:
    """Measure a section, print and write it. Return whether it succeeded: one that fails does not stop the others."""
    section = _module(SECTIONS[name])
    extra = {OPTIONS[name]: getattr(options, OPTIONS[name])} if name in OPTIONS else {}
    if hasattr(section, "missing") and (reason := section.missing(**extra)):
        print(f"left out: {section.TITLE}: {reason}", file=sys.stderr)
        return True
    print(f"measuring: {section.TITLE}", file=sys.stderr, flush=True)
    try:
        measured = section.measure(model, options.quick, **extra)
        text = _markdown(section.TITLE, section.report(measured))
        results.keep(name, measured)
        if hasattr(section, "curve"):
            text += f"\n\n{_plot(name, section, measured, options.output)}"
        _write(options.output / f"{name}.md", text)
        for summary, (_, parts) in SUMMARIES.items():
            if name in parts:
                _write(options.output / f"{summary}.md", _summary(summary, results))
    except Exception:
        traceback.print_exc()
        print(f"error: {name} failed; the other parts go on", file=sys.stderr)
        return False
    print(f"\n{text}", flush=True)
    return True


def _plot(name: str, section: ModuleType, measured: Any, folder: Path) -> str:
    """Draw the section's curve and return the Markdown that shows it."""
    curve = section.curve(measured)
    _module("growth.plots").draw(curve, section.TITLE, folder / FIGURES / f"{name}.png")
    return f"![{section.TITLE}: {curve.y} against {curve.x}]({FIGURES}/{name}.png)"


def _summary(name: str, results: "StoredResults") -> str:
    """Return a summary of all sections that were measured, in this run or in earlier ones in the same folder."""
    path, parts = SUMMARIES[name]
    summary = _module(path)
    measured: Mapping[str, Any] = {part: results.get(part, _module(SECTIONS[part]).Results) for part in parts}
    return _markdown(summary.TITLE, summary.report(measured, results.machine))


def _markdown(title: str, report: str) -> str:
    """Return a section of a page, with its prose in lines as long as those of the other pages."""
    lines = [line if line.startswith("|") else textwrap.fill(line, LINE_LENGTH) for line in report.splitlines()]
    return "\n".join((f"## {title}", "", *lines))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def _module(path: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: check in minutes that everything works")
    parser.add_argument(
        "--only", nargs="+", choices=[*SECTIONS, *SUMMARIES], metavar="PART",
        help=f"some of {', '.join([*SECTIONS, *SUMMARIES])}",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("runs/benchmarks"), metavar="FOLDER",
        help="folder for tables, plots and results.json; default: runs/benchmarks",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, metavar="PATH",
        help="captioned photos for the part `retraining`, in any form that training reads; without, it is left out",
    )  # fmt: skip
    parser.add_argument(
        "--bulk-photos", type=count, default=10_000, metavar="N",
        help="photos of the part `memory`; default: 10000, which takes some minutes",
    )  # fmt: skip
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ...; default: a GPU if there is one")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the processes of a part end with it
    sys.exit(main())
