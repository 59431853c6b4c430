"""`python -m tests.support.quick_training COMMAND`: `python -m training COMMAND` without Java.

The PTB tokenizer and METEOR start Java, which takes most of a test run's processor time. Here captions are split at
spaces, and METEOR is 0. Used by tests that kill, stop and restart processes.
"""

import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Self


def cut_at_spaces(captions: Mapping[Hashable, Sequence[str]]) -> dict[Hashable, list[str]]:
    """Stand in for `training.evaluation.metrics.tokenise_for_scoring`."""
    return {image: [" ".join(text.lower().split()) for text in texts] for image, texts in captions.items()}


class NoMeteor:
    """Stands in for `training.evaluation.metrics.one_meteor`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def compute_score(self, references: dict, hypotheses: dict) -> tuple[float, list[float]]:
        return 0.0, [0.0] * len(hypotheses)


def main(arguments: list[str]) -> int:
    from training.evaluation import metrics

    # Before the modules that import these by name.
    metrics.tokenise_for_scoring, metrics.one_meteor = cut_at_spaces, NoMeteor()
    from training.__main__ import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
