"""Ranks started by torchrun get the same results as one process, or end with one sentence."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from captioner.bundle.bundle import save_bundle
from captioner.errors import ConfigError
from captioner.model.draws import draw_for_batch
from captioner.ranks import ALONE, BatchSlice, Ranks
from captioner.text.vocabulary import PAD
from tests.support.rank_runs import RUNS, STOPPED
from tests.support.shapes import draw_shapes, write_boxes
from tests.support.weighted_losses import soft_attention_loss
from tests.training.conftest import three_stages_spec
from training import losses
from training.__main__ import main
from training.distributed import rank_device

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
"""The installed command torchrun."""
QUIET = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*TORCHRUN, "-m", *map(str, command)], cwd=ROOT, env=QUIET, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def rank_runs(tmp_path_factory):
    """Every run on two ranks and on one -> their folder, and the output of the ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    # Batches of 3, 3 and 1: ranks have unequal shares, and one has none of the last.
    drawings = draw_shapes(folder / "shapes", {"train": 7, "val": 5})
    with open(folder / "shapes" / "captions.csv", "a") as table:  # and captions of unequal number and length
        for drawing in drawings["train"][::3]:
            table.write(f"{drawing.path.name},a red thing,train\n{drawing.path.name},two things,train\n")
    write_boxes(folder / "boxes.json", drawings)
    draw_shapes(folder / "more", {"train": 2, "val": 3}, seed=5)
    (folder / "mine.txt").write_text(
        "a zebra stands there\na giraffe\n" * 3 + "a dog and a red circle on the grass\n" * 4
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(three_stages_spec().network().state_dict(), folder / "three-stages.safetensors")
    on_two = torchrun("tests.support.rank_runs", folder)
    assert on_two.returncode == 0, on_two.stderr
    command = [sys.executable, "-W", "error", "-m", "tests.support.rank_runs", str(folder)]
    process = subprocess.run(command, cwd=ROOT, env=QUIET, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return folder, on_two


def weights(path: Path) -> dict[str, Tensor]:
    state = torch.load(path, weights_only=True)
    return state.get("model", state)


def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Return the largest difference of a weight relative to the largest weight of its tensor."""
    assert first.keys() == second.keys()
    pairs = [(tensor.float(), second[name].float()) for name, tensor in first.items()]
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-3)) for a, b in pairs)


def select_shared_tensors(
    first: dict[str, Tensor], second: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of equal shape in both: sentences add words and a "no photo" vector."""
    names = [name for name in first if name in second and first[name].shape == second[name].shape]
    return {name: first[name] for name in names}, {name: second[name] for name in names}


@pytest.mark.stress
@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_learn_the_same_as_one(rank_runs, name):
    folder, _ = rank_runs
    single_run, ranks_run = folder / "on-1" / name, folder / "on-2" / name
    assert difference(weights(single_run / "checkpoint.pt"), weights(ranks_run / "checkpoint.pt")) < 1e-4
    # The weights before training: the difference above is negligible beside the change.
    other_name = next(candidate for candidate in RUNS if RUNS[candidate][0] == RUNS[name][0] and candidate != name)
    other_weights = weights(folder / "on-1" / other_name / "checkpoint.pt")
    assert difference(*select_shared_tensors(weights(single_run / "checkpoint.pt"), other_weights)) > 0.1
    assert difference(weights(ranks_run / "rank-0.pt"), weights(ranks_run / "rank-1.pt")) == 0
    logs = [
        [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (single_run, ranks_run)
    ]
    for line, ranks_line in zip(*logs, strict=True):
        for figure in line.keys() - {"train_seconds", "validation_seconds"}:
            expected = pytest.approx(line[figure], abs=2e-4) if type(line[figure]) is float else line[figure]
            assert ranks_line[figure] == expected, figure


@pytest.mark.stress
def test_a_run_started_by_two_ranks_is_finished_by_one(rank_runs):
    folder, _ = rank_runs
    single_run, resumed_run = folder / "on-1" / STOPPED, folder / "on-2" / "stopped"
    assert len((resumed_run / "log.jsonl").read_text().splitlines()) == 2
    assert difference(weights(single_run / "checkpoint.pt"), weights(resumed_run / "checkpoint.pt")) < 1e-4


@pytest.mark.stress
def test_only_one_rank_writes_and_prints(rank_runs):
    folder, output = rank_runs
    epochs = sum(len((folder / "on-2" / name / "log.jsonl").read_text().splitlines()) for name in RUNS)
    assert sum(line.startswith('{"epoch"') for line in output.stdout.splitlines()) == epochs + 1  # one of the stopped
    assert "Warning" not in output.stderr
    rank_files = {path.name for path in (folder / "on-2" / "soft").iterdir()}
    single_files = {path.name for path in (folder / "on-1" / "soft").iterdir()}
    assert rank_files - {"rank-0.pt", "rank-1.pt"} == single_files - {"rank-0.pt"}
    (events,) = (folder / "on-2" / "soft" / "tensorboard").iterdir()
    assert events.is_file()


@pytest.mark.stress
def test_ranks_fill_one_cache_without_duplicate_photos(rank_runs):
    folder, _ = rank_runs
    caches = sorted((folder / "cache").iterdir(), key=lambda cache: cache.stat().st_mtime)
    assert len(caches) == 4  # annotations and fine-tuned features, both also of mirror images
    for cache in caches:
        rows = (cache / "index.jsonl").read_text().splitlines()
        photos = 7 + 2 if json.loads((cache / "what.json").read_text())["mirrored"] else 12 + 5
        assert len(rows) == len(set(rows)) == photos


@pytest.mark.stress
def test_a_killed_rank_ends_the_run_with_one_sentence(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 40, "val": 4})
    paths = ["--data", tmp_path / "shapes", "--cache", tmp_path / "cache", "--output", tmp_path / "run"]
    recipe = "--image-size 64 --min-count 1 --epochs 500 --batch-size 4 --patience 999 --device cpu".split()
    command = [*TORCHRUN, "-m", "training", "fit", *map(str, paths), *recipe]
    with subprocess.Popen(command, cwd=ROOT, env=QUIET, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        try:
            wait_until(lambda: '"training"' in (tmp_path / "run" / "progress.json").read_text())
            (child,) = (child for child in psutil.Process(run.pid).children() if child.environ()["RANK"] == "1")
            child.send_signal(signal.SIGKILL)
            _, errors = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode != 0
    sentence = "error: rank 0 of 2 lost another rank, which has ended or cannot be reached"
    assert errors.decode().count(sentence) == 1 and "start all ranks again with --resume" in errors.decode()
    assert "training/__main__.py" not in errors.decode()  # no traceback of this project's code


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if condition():
                return
        time.sleep(0.05)
    pytest.fail("the condition was never met")


@pytest.mark.stress
def test_an_evaluation_by_several_ranks_equals_that_of_one_process(tmp_path, make_bundle):
    drawings = draw_shapes(tmp_path / "shapes", {"train": 1, "test": 35})  # two batches, of 32 photos and 3
    (tmp_path / "shapes" / "test0003.png").write_bytes(b"no photo")
    write_boxes(tmp_path / "boxes.json", drawings)
    save_bundle(make_bundle(), tmp_path / "bundle")
    paths = ["--data", tmp_path / "shapes", "--bundle", tmp_path / "bundle", "--boxes", tmp_path / "boxes.json"]
    arguments = ["evaluate", *map(str, paths), "--evidence-photos", "3", "--device", "cpu"]
    assert main([*arguments, "--output", str(tmp_path / "alone")]) == 0
    process = torchrun("training", *arguments, "--output", tmp_path / "ranks")
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("CIDEr") == 1
    assert (tmp_path / "ranks" / "results.json").read_bytes() == (tmp_path / "alone" / "results.json").read_bytes()
    single_metrics, rank_metrics = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("alone", "ranks")
    )
    assert {**rank_metrics, "seconds": 0} == {**single_metrics, "seconds": 0}
    assert rank_metrics["captions"] == 34 and len(rank_metrics["skipped"]) == 1


@pytest.mark.parametrize("local_rank", [0, 1])
def test_a_command_for_one_process_reports_so_once(tmp_path, monkeypatch, capsys, local_rank):
    environment = {"RANK": local_rank, "LOCAL_RANK": local_rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    sentence = "error: this command runs as one process: start it without torchrun"
    assert main(["inspect", "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count(sentence) == (local_rank == 0)


@dataclass(frozen=True)
class RecordingRank(Ranks):
    """A single rank that records every total, as the sum of all ranks."""

    totals: list[Tensor] = field(default_factory=list)

    def sum(self, values):
        self.totals.append(values.detach().clone())
        return values


@dataclass(frozen=True)
class ReplayingRank(Ranks):
    """A rank that receives these totals."""

    totals: tuple[Tensor, ...] = ()

    def sum(self, values):
        return self.totals[len(self.totals) - self.pending.pop()]

    pending: list[int] = field(default_factory=list)


def sum_over_parts(loss, *tensors):
    """Return the loss of a batch, and the sum of the losses of its parts: one image, and the others."""
    recording_rank = RecordingRank()
    batch_loss = loss(*tensors, recording_rank)
    part_losses = []
    for part_slice in (slice(0, 1), slice(1, None)):
        replaying_rank = ReplayingRank(
            totals=tuple(recording_rank.totals), pending=list(range(1, len(recording_rank.totals) + 1))
        )
        part_losses.append(loss(*(tensor[part_slice] for tensor in tensors), replaying_rank))
    return batch_loss, sum(part_losses), part_losses


def captions():
    """Captions of three images, the first with a single short caption -> logits, alphas, targets, mask."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(4, 11, (3, 2, 5), generator=generator)
    targets[0, 0, 2:], targets[0, 1], targets[2, 1, 3:] = PAD, PAD, PAD
    logits = torch.randn(3, 2, 5, 11, generator=generator)
    return logits, torch.randn(3, 2, 5, 6, generator=generator).softmax(dim=-1), targets, targets != PAD


@pytest.mark.parametrize("name", [
    "soft", "reinforce", "entropy", "supervision", "distillation", "map_distillation", "self_critical",
])  # fmt: skip
def test_the_losses_of_parts_sum_to_that_of_the_batch(name):
    logits, alphas, targets, mask = captions()
    other_alphas = alphas.flip(0)
    batch_loss, loss_sum, part_losses = {
        "soft": lambda: sum_over_parts(
            lambda a, b, c, ranks: soft_attention_loss(a, b, c, 0.7, 0.1, ranks), logits, alphas, targets
        ),
        "reinforce": lambda: sum_over_parts(
            lambda a, b, c, ranks: losses.reinforce_loss(a, b, b.argmax(dim=-1), c, -2.0, ranks),
            logits, alphas, targets,
        ),
        "entropy": lambda: sum_over_parts(losses.map_entropy, alphas, mask),
        "supervision": lambda: sum_over_parts(
            losses.attention_supervision_loss, alphas, (other_alphas > 0.2) * mask.unsqueeze(-1)
        ),
        "distillation": lambda: sum_over_parts(losses.distillation_loss, logits, logits.flip(0)[..., :9], mask),
        "map_distillation": lambda: sum_over_parts(losses.map_distillation_loss, alphas, other_alphas, mask),
        "self_critical": lambda: sum_over_parts(
            losses.self_critical_loss, logits, targets, torch.tensor([[0.3, 0.0], [-1.0, 2.0], [0.5, 0.1]])
        ),
    }[name]()  # fmt: skip
    assert loss_sum.item() == pytest.approx(batch_loss.item(), rel=1e-5)
    part_values = [part_loss.item() for part_loss in part_losses]
    assert min(map(abs, part_values)) > 1e-3  # each part contributes


def test_a_single_process_has_no_group():
    assert Ranks.from_environment({}) == ALONE
    values = torch.ones(3)
    assert ALONE.sum(values) is values and ALONE.leads and ALONE.batch_slice(4) is None and ALONE.max(7) == 7
    assert list(ALONE.map(lambda number: number**2, 4)) == [0, 1, 4, 9]
    assert not torch.distributed.is_initialized()


def test_every_image_of_a_batch_belongs_to_one_rank():
    for size in (1, 2, 3, 5):
        for images in (1, 2, 7, 32):
            parts = [list(range(images))[Ranks(rank, size).part(images)] for rank in range(size)]
            assert sum(parts, []) == list(range(images))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_random_draws_for_an_image_do_not_depend_on_the_ranks():
    def draw(shape):
        return torch.rand(shape, generator=torch.Generator().manual_seed(1))

    batch_draws = draw_for_batch(draw, (7, 2))
    part_draws = [draw_for_batch(draw, (3, 2), BatchSlice(0, 7)), draw_for_batch(draw, (4, 2), BatchSlice(3, 7))]
    assert torch.equal(torch.cat(part_draws), batch_draws)


def test_each_process_has_its_own_gpu():
    second = Ranks(5, 8, local_rank=1, local_size=2)
    assert rank_device(second, None, gpus=0) == "cpu"
    assert rank_device(second, None, gpus=2) == rank_device(second, "cuda", 2) == "cuda:1"
    assert rank_device(second, "cpu", gpus=2) == "cpu"
    with pytest.raises(ConfigError, match="4 processes on a machine with 2 GPUs: give --nproc-per-node 2"):
        rank_device(replace(second, local_size=4), None, gpus=2)
    with pytest.raises(ConfigError, match="--device cuda:0 is one device"):
        rank_device(second, "cuda:0", gpus=2)
