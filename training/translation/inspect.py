"""`training inspect-parallel`: report what parallel text holds. Runs without torch."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from captioner.text.counting import counted
from training.random_streams import COMPARISON, sample, stream
from training.translation.languages import choose_languages
from training.translation.parallel_text import ParallelText, read_parallel

SAMPLES = 5
"""Number of training pairs to show."""
FEW_PAIRS = 5000
"""Number of training pairs below which a translator learns few words."""


def inspect(options: argparse.Namespace) -> int:
    """Print the report of parallel text. Returns the exit status."""
    report = inspect_parallel(options.data, options.source, options.target)
    if options.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        print(*_lines(report), sep="\n")
    return 0


def inspect_parallel(path: Path, source: str | None = None, target: str | None = None) -> dict[str, Any]:
    """Return the report: languages, pairs of each split, pairs that are left out, advice and samples.

    source, target: languages; by default those that the files name. Raises DataError if nothing can be trained on.
    """
    source, target = choose_languages(path, source, target)
    text = read_parallel(path, source, target)
    if "train" not in text.splits:
        raise DataError(
            f"{path} holds no pairs to train on, only {', '.join(text.splits)}: name a file train.{source} or train.tsv"
        )
    pairs = sample(text.split("train"), SAMPLES, stream(0, COMPARISON))
    return {
        "usable": True,
        "source": source,
        "target": target,
        "splits": [{"split": name, "pairs": len(pairs)} for name, pairs in text.splits.items()],
        "total": {"pairs": sum(map(len, text.splits.values()))},
        "left_out": list(text.notes),
        "advice": list(_advice(text)),
        "samples": [{"source": pair[0], "target": pair[1]} for pair in pairs],
    }


def _advice(text: ParallelText) -> Iterator[str]:
    train = text.split("train")
    if len(train) < FEW_PAIRS:
        yield (
            f"{counted(len(train), 'training pair')} are few: start from a translator of these languages, if there is"
            " one. From scratch, a translator knows no words but these, and writes good sentences after"
            f" {FEW_PAIRS:,} or more."
        )
    same = sum(source == target for source, target in train)
    if same > len(train) / 2:
        yield f"{counted(same, 'training pair')} have the same text on both sides: check the languages of the files."


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['source']} to {report['target']}"
    yield from (f"{split['split']}: {counted(split['pairs'], 'pair')}" for split in report["splits"])
    yield from report["left_out"]
    yield from report["advice"]
