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

from captioner.bundle import save_bundle
from captioner.errors import ConfigError
from captioner.model.draws import draw_for_batch
from captioner.ranks import ALONE, BatchSlice, Ranks
from captioner.vocabulary import PAD
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
def ran(tmp_path_factory):
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
    alone = [sys.executable, "-W", "error", "-m", "tests.support.rank_runs", str(folder)]
    ended = subprocess.run(alone, cwd=ROOT, env=QUIET, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder, on_two


def weights(path: Path) -> dict[str, Tensor]:
    state = torch.load(path, weights_only=True)
    return state.get("model", state)


def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Return the largest difference of a weight relative to the largest weight of its tensor."""
    assert first.keys() == second.keys()
    pairs = [(tensor.float(), second[name].float()) for name, tensor in first.items()]
    return max(float((one - other).abs().max() / one.abs().max().clamp(min=1e-3)) for one, other in pairs)


def alike(first: dict[str, Tensor], second: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of equal shape in both: sentences add words and a "no photo" vector."""
    names = [name for name in first if name in second and first[name].shape == second[name].shape]
    return {name: first[name] for name in names}, {name: second[name] for name in names}


@pytest.mark.stress
@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_learn_the_same_as_one(ran, name):
    folder, _ = ran
    alone, ranks = folder / "on-1" / name, folder / "on-2" / name
    assert difference(weights(alone / "checkpoint.pt"), weights(ranks / "checkpoint.pt")) < 1e-4
    # The weights before training: the difference above is negligible beside the change.
    other = next(each for each in RUNS if RUNS[each][0] == RUNS[name][0] and each != name)
    assert (
        difference(*alike(weights(alone / "checkpoint.pt"), weights(folder / "on-1" / other / "checkpoint.pt"))) > 0.1
    )
    assert difference(weights(ranks / "rank-0.pt"), weights(ranks / "rank-1.pt")) == 0
    lines = [[json.loads(line) for line in (each / "log.jsonl").read_text().splitlines()] for each in (alone, ranks)]
    for line, of_ranks in zip(*lines, strict=True):
        for figure in line.keys() - {"train_seconds", "validation_seconds"}:
            expected = pytest.approx(line[figure], abs=2e-4) if type(line[figure]) is float else line[figure]
            assert of_ranks[figure] == expected, figure


@pytest.mark.stress
def test_a_run_started_by_two_ranks_is_finished_by_one(ran):
    folder, _ = ran
    whole, resumed = folder / "on-1" / STOPPED, folder / "on-2" / "stopped"
    assert len((resumed / "log.jsonl").read_text().splitlines()) == 2
    assert difference(weights(whole / "checkpoint.pt"), weights(resumed / "checkpoint.pt")) < 1e-4


@pytest.mark.stress
def test_only_one_rank_writes_and_prints(ran):
    folder, said = ran
    epochs = sum(len((folder / "on-2" / name / "log.jsonl").read_text().splitlines()) for name in RUNS)
    assert sum(line.startswith('{"epoch"') for line in said.stdout.splitlines()) == epochs + 1  # one of the stopped
    assert "Warning" not in said.stderr
    written = {path.name for path in (folder / "on-2" / "soft").iterdir()}
    alone = {path.name for path in (folder / "on-1" / "soft").iterdir()}
    assert written - {"rank-0.pt", "rank-1.pt"} == alone - {"rank-0.pt"}
    (events,) = (folder / "on-2" / "soft" / "tensorboard").iterdir()
    assert events.is_file()


@pytest.mark.stress
def test_ranks_fill_one_cache_without_duplicate_photos(ran):
    folder, _ = ran
    caches = sorted((folder / "cache").iterdir(), key=lambda cache: cache.stat().st_mtime)
    assert len(caches) == 4  # annotations and fine-tuned features, both also of mirror images
    for cache in caches:
        rows = (cache / "index.jsonl").read_text().splitlines()
        photos = 7 + 2 if json.loads((cache / "what.json").read_text())["mirrored"] else 12 + 5
        assert len(rows) == len(set(rows)) == photos


@pytest.mark.stress
def test_a_killed_rank_ends_the_run_with_one_sentence(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 40, "val": 4})
    places = ["--data", tmp_path / "shapes", "--cache", tmp_path / "cache", "--output", tmp_path / "run"]
    recipe = "--image-size 64 --min-count 1 --epochs 500 --batch-size 4 --patience 999 --device cpu".split()
    command = [*TORCHRUN, "-m", "training", "fit", *map(str, places), *recipe]
    with subprocess.Popen(command, cwd=ROOT, env=QUIET, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        try:
            until(lambda: '"training"' in (tmp_path / "run" / "progress.json").read_text())
            (killed,) = (child for child in psutil.Process(run.pid).children() if child.environ()["RANK"] == "1")
            killed.send_signal(signal.SIGKILL)
            _, said = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode != 0
    sentence = "error: rank 0 of 2 lost another rank, which has ended or cannot be reached"
    assert said.decode().count(sentence) == 1 and "start all ranks again with --resume" in said.decode()
    assert "training/__main__.py" not in said.decode()  # no traceback of this project's code


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if true():
                return
        time.sleep(0.05)
    pytest.fail("the condition was never met")


@pytest.mark.stress
def test_an_evaluation_by_several_ranks_equals_that_of_one_process(tmp_path, make_bundle):
    drawings = draw_shapes(tmp_path / "shapes", {"train": 1, "test": 35})  # two batches, of 32 photos and 3
    (tmp_path / "shapes" / "test0003.png").write_bytes(b"no photo")
    write_boxes(tmp_path / "boxes.json", drawings)
    save_bundle(make_bundle(), tmp_path / "bundle")
    places = ["--data", tmp_path / "shapes", "--bundle", tmp_path / "bundle", "--boxes", tmp_path / "boxes.json"]
    asked = ["evaluate", *map(str, places), "--evidence-photos", "3", "--device", "cpu"]
    assert main([*asked, "--output", str(tmp_path / "alone")]) == 0
    ended = torchrun("training", *asked, "--output", tmp_path / "ranks")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("CIDEr") == 1
    assert (tmp_path / "ranks" / "results.json").read_bytes() == (tmp_path / "alone" / "results.json").read_bytes()
    alone, ranks = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("alone", "ranks"))
    assert {**ranks, "seconds": 0} == {**alone, "seconds": 0}
    assert ranks["captions"] == 34 and len(ranks["skipped"]) == 1


@pytest.mark.parametrize("local_rank", [0, 1])
def test_a_command_for_one_process_reports_so_once(tmp_path, monkeypatch, capsys, local_rank):
    started = {"RANK": local_rank, "LOCAL_RANK": local_rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    started |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
    for name, value in started.items():
        monkeypatch.setenv(name, str(value))
    sentence = "error: this command runs as one process: start it without torchrun"
    assert main(["inspect", "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count(sentence) == (local_rank == 0)


@dataclass(frozen=True)
class Noting(Ranks):
    """A single rank that records every total, as the sum of all ranks."""

    totals: list[Tensor] = field(default_factory=list)

    def total(self, values):
        self.totals.append(values.detach().clone())
        return values


@dataclass(frozen=True)
class Told(Ranks):
    """A rank that receives these totals."""

    totals: tuple[Tensor, ...] = ()

    def total(self, values):
        return self.totals[len(self.totals) - self.left.pop()]

    left: list[int] = field(default_factory=list)


def parts_and_whole(loss, *tensors):
    """Return the loss of a batch, and the sum of the losses of its parts: one image, and the others."""
    noting = Noting()
    whole = loss(*tensors, noting)
    parts = []
    for part in (slice(0, 1), slice(1, None)):
        told = Told(totals=tuple(noting.totals), left=list(range(1, len(noting.totals) + 1)))
        parts.append(loss(*(tensor[part] for tensor in tensors), told))
    return whole, sum(parts), parts


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
    other = alphas.flip(0)
    whole, summed, parts = {
        "soft": lambda: parts_and_whole(
            lambda a, b, c, ranks: soft_attention_loss(a, b, c, 0.7, 0.1, ranks), logits, alphas, targets
        ),
        "reinforce": lambda: parts_and_whole(
            lambda a, b, c, ranks: losses.reinforce_loss(a, b, b.argmax(dim=-1), c, -2.0, ranks),
            logits, alphas, targets,
        ),
        "entropy": lambda: parts_and_whole(losses.map_entropy, alphas, mask),
        "supervision": lambda: parts_and_whole(
            losses.attention_supervision_loss, alphas, (other > 0.2) * mask.unsqueeze(-1)
        ),
        "distillation": lambda: parts_and_whole(losses.distillation_loss, logits, logits.flip(0)[..., :9], mask),
        "map_distillation": lambda: parts_and_whole(losses.map_distillation_loss, alphas, other, mask),
        "self_critical": lambda: parts_and_whole(
            losses.self_critical_loss, logits, targets, torch.tensor([[0.3, 0.0], [-1.0, 2.0], [0.5, 0.1]])
        ),
    }[name]()  # fmt: skip
    assert summed.item() == pytest.approx(whole.item(), rel=1e-5)
    alone = [part.item() for part in parts]
    assert min(map(abs, alone)) > 1e-3  # each part contributes


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

    whole = draw_for_batch(draw, (7, 2))
    parts = [draw_for_batch(draw, (3, 2), BatchSlice(0, 7)), draw_for_batch(draw, (4, 2), BatchSlice(3, 7))]
    assert torch.equal(torch.cat(parts), whole)


def test_each_process_has_its_own_gpu():
    second = Ranks(5, 8, local_rank=1, local_size=2)
    assert rank_device(second, None, gpus=0) == "cpu"
    assert rank_device(second, None, gpus=2) == rank_device(second, "cuda", 2) == "cuda:1"
    assert rank_device(second, "cpu", gpus=2) == "cpu"
    with pytest.raises(ConfigError, match="4 processes on a machine with 2 GPUs: give --nproc-per-node 2"):
        rank_device(replace(second, local_size=4), None, gpus=2)
    with pytest.raises(ConfigError, match="--device cuda:0 is one device"):
        rank_device(second, "cuda:0", gpus=2)
