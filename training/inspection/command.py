"""`training inspect`: report what data sets hold and what is wrong with them. Runs without torch."""

import argparse
import json
from typing import Any

from captioner.bundle.json_files import load_vocabulary
from training.arguments import read_also, read_data
from training.data.mixing import check_different
from training.data.records import DataSet
from training.inspection.advice import advice
from training.inspection.report import Report, inspect_data, render
from training.inspection.samples import write_samples
from training.inspection.together import inspect_together
from training.inspection.together import render as render_together


def inspect(options: argparse.Namespace) -> int:
    """Print the report of each data set, and of all of them together. Returns the exit status."""
    data, also = read_data(options), read_also(options)
    check_different([data, *also])
    vocabulary = load_vocabulary(options.bundle) if options.bundle else None
    report = inspect_data(data, not options.no_photos, vocabulary=vocabulary)
    samples = []
    if options.samples:
        unreadable = {problem.file for problem in report.problems if problem.kind == "unreadable_image"}
        samples = write_samples(data, options.samples, unreadable)
    others = [inspect_data(data_set, not options.no_photos, vocabulary=vocabulary) for data_set in also]
    together = inspect_together([data, *also], not options.no_photos, vocabulary) if also else None
    if options.json:
        values = {**_report_json(data, report, options.most), "samples": samples}
        if together:
            values["also"] = [_report_json(*pair, options.most) for pair in zip(also, others, strict=True)]
            values["together"] = together.to_json(options.most)
        print(json.dumps(values, indent=1, ensure_ascii=False))
        return 0
    for number, (data_set, data_report) in enumerate(zip([data, *also], [report, *others], strict=True)):
        sentences = advice(data_set, data_report)[1]
        print("\n" if number else "", render(data_report), *(f"\n{sentence}" for sentence in sentences), sep="")
    if together:
        print("\n", render_together(together), sep="")
    return 0


def _report_json(data: DataSet, report: Report, max_entries: int | None) -> dict[str, Any]:
    """Return the report of a data set as JSON, with advice and whether it can be used.

    max_entries: maximum length of each list.
    """
    usable, sentences = advice(data, report)
    return {"usable": usable, "advice": sentences, **report.to_json(max_entries)}
