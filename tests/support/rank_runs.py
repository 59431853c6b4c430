"""Training runs that test_distributed.py starts like users do: by torchrun on two ranks, and without it.

    [torchrun --nproc-per-node 2 -m] python -m tests.support.rank_runs FOLDER

Each run has its own folder, with the weights of every rank beside its checkpoint. The last run is stopped by a signal
to one rank only. Numbers have 32 bits: with 16, sums of parts would be rounded differently from the whole.
"""

import contextlib
import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch

from captioner.config import CaptionerConfig, DecodingOptions
from captioner.model.encoders import ENCODERS
from captioner.ranks import Ranks
from tests.support.quick_training import cut_at_spaces
from tests.support.training_setups import make_training_setup
from tests.training.conftest import THREE_STAGES, three_stages_spec
from training import criterion, loop, validation
from training import setup as training_setup
from training.captioning import fit
from training.data.boxes.readers.formats import read_boxes
from training.data.readers.sentence_files import read_sentences
from training.data.records import read_records
from training.distributed import connect, disconnect
from training.loop import Interrupted
from training.options import FitOptions

CONFIG = CaptionerConfig(
    THREE_STAGES, 64, "squash", activation="tanh", embedding_dim=8, hidden_dim=12, attention_dim=8, dropout=0.3
)
"""With tanh: where ReLU passes everything, the bias of keys has only rounding as its gradient, which Adam scales up."""
OPTIONS = FitOptions(
    epochs=2, batch_size=3, min_count=1, warmup_steps=2, learning_rate=0.02, average_decay=0.5, patience=9,
    self_critical_samples=3, fine_tune_learning_rate=0.01, encoder_learning_rate=0.01, self_critical_learning_rate=0.01,
    captions_per_image=3,
)  # fmt: skip
RUNS = {
    "soft": ("soft", dataclasses.replace(OPTIONS, mirror=True, fine_tune_epochs=1, fine_tune_stages=1)),
    "hard": ("hard", dataclasses.replace(OPTIONS, expected_share=0.4, reinforce_weight=1.0)),
    "self-critical": ("soft", dataclasses.replace(OPTIONS, epochs=1, self_critical_epochs=2)),
    "text": ("soft", dataclasses.replace(OPTIONS, self_critical_epochs=1, sentences_per_batch=5, sentence_min_count=1)),
    # The scores of hard attention have no gradient where nothing supervises them.
    "hard-critical": (
        "hard",
        dataclasses.replace(
            OPTIONS, epochs=1, self_critical_epochs=1, self_critical_baseline="greedy", cross_entropy_weight=0.0
        ),
    ),
}
WITH_BOXES = ("soft",)
WITH_MORE = ("soft", "self-critical")
"""Runs with a second data set."""
WITH_SENTENCES = ("text",)
STOPPED = "hard"
"""The run that is also stopped and resumed."""
STOPPED_AT = 4
"""Batches before the stop: in its second epoch."""


def run(name: str, folder: Path, output: Path, ranks: Ranks, resume: bool = False) -> None:
    attention, options = RUNS[name]
    boxes = read_boxes(folder / "boxes.json") if name in WITH_BOXES else None
    setup = make_training_setup(
        read_records(folder / "shapes"), dataclasses.replace(CONFIG, attention=attention),
        DecodingOptions(beam_width=2, max_words=9), options, folder / "cache", folder / "three-stages.safetensors",
        "cpu", boxes=boxes, ranks=ranks, also=[read_records(folder / "more")] if name in WITH_MORE else [],
        texts=read_sentences([folder / "mine.txt"]) if name in WITH_SENTENCES else None,
    )  # fmt: skip
    try:
        fit(setup, options, output, resume, ranks=ranks)
    finally:
        torch.save(setup.model.state_dict(), output / f"rank-{ranks.rank}.pt")


def stop_at(number: int, rank: int, ranks: Ranks) -> None:
    """Send SIGTERM to one rank only, at the nth batch from now on."""
    original, batches = criterion.caption_losses, []

    def count_batches(*arguments, **options):
        batches.append(1)
        if len(batches) == number and ranks.rank == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, **options)

    criterion.caption_losses = count_batches


def prepare_process() -> None:
    torch.set_num_threads(1)
    torch.autocast = lambda *_, **__: contextlib.nullcontext()
    torch.Tensor.bfloat16 = torch.Tensor.float
    validation.BATCH = 2
    training_setup.tokenise_for_scoring = validation.tokenise_for_scoring = cut_at_spaces
    ENCODERS[THREE_STAGES] = three_stages_spec()
    loop.Curves.add = lambda *_: None  # drawing takes longer than everything else here


def main(folder: Path) -> None:
    prepare_process()
    ranks, _ = connect(Ranks.from_environment(), "cpu")
    outputs = folder / f"on-{ranks.size}"
    for name in RUNS:
        run(name, folder, outputs / name, ranks)
    if ranks.size > 1:
        stop_at(STOPPED_AT, rank=1, ranks=ranks)
        with contextlib.suppress(Interrupted):
            run(STOPPED, folder, outputs / "stopped", ranks)
    else:
        run(STOPPED, folder, folder / "on-2" / "stopped", ranks, resume=True)
    disconnect(ranks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
