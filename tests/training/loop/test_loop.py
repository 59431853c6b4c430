"""A stopped or killed run resumes exactly, and each phase trains its own part."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import captioner
from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError
from captioner.figures import figure_strip
from tests.support.shapes import draw_shapes
from tests.support.training_runs import ALL_PHASES, BATCHES, ONE_PHASE, assert_same_run, lines_of, state_of
from training import captioning, loop
from training.captioning import fit
from training.loop import Interrupted
from training.options import FitOptions
from training.runs import run as run_state
from training.validation import Validator


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the loop catches it."""


@pytest.mark.stress
def test_a_run_stopped_several_times_resumes_exactly(run, tmp_path, at_batch):
    run("whole", ALL_PHASES)
    lines = lines_of(tmp_path / "whole")
    assert [line["phase"] for line in lines] == ["cross_entropy"] * 2 + ["fine_tune"] * 2 + ["self_critical"] * 2
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]

    resume = False
    # Batches after the last stop: within each phase, after an epoch's last batch, after a phase's last batch.
    for signal_number, after in zip([signal.SIGTERM, signal.SIGINT] * 3, [1, 2, 3, 2, 4, 3], strict=True):
        at_batch(after, lambda loss, number=signal_number: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted, match="--resume"):
            run("stopped", ALL_PHASES, resume)
        resume = True
    run("stopped", ALL_PHASES, resume)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_signal_handlers_are_restored(run, at_batch):
    before = signal.getsignal(signal.SIGTERM)
    at_batch(1, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        run("run", ONE_PHASE)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_stops_at_once(run, at_batch):
    def send_two_signals(loss):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    at_batch(1, send_two_signals)
    with pytest.raises(KeyboardInterrupt):
        run("run", ONE_PHASE)


@pytest.mark.stress
def test_a_run_killed_between_two_writes_resumes_exactly(run, tmp_path, monkeypatch):
    options = dataclasses.replace(ONE_PHASE, self_critical_epochs=1)
    run("whole", options)
    # Before the bundle, the line, the scalars and the checkpoint of an epoch, and before that of a phase's end.
    interruptions = [(captioning, "save_bundle", 1), (loop.Curves, "add", 1), (run_state, "save_checkpoint", 1)]
    interruptions += [(loop.Curves, "add", 2), (run_state, "save_checkpoint", 2), (run_state, "save_checkpoint", 3)]
    for number, (owner, name, nth) in enumerate(interruptions):
        killed = tmp_path / f"killed {number}"
        original, calls = getattr(owner, name), []

        def kill(*arguments, original=original, calls=calls, nth=nth):
            calls.append(1)
            if len(calls) == nth:
                raise Killed
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, kill)
            with pytest.raises(Killed):
                run(killed.name, options)
        if (killed / "bundle").exists():
            captioner.load(killed / "bundle", "cpu")
        run(killed.name, options, resume=(killed / "checkpoint.pt").exists())
        assert_same_run(killed, tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(run, tmp_path, capsys, at_batch):
    bundle = run("run", ONE_PHASE)
    assert bundle == tmp_path / "run" / "bundle"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    at_batch(1, lambda loss: pytest.fail("training continued"))
    capsys.readouterr()
    assert run("run", ONE_PHASE, resume=True) == bundle
    assert "holds a finished run of 2 epochs: there is nothing left to do" in "".join(capsys.readouterr())
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_run_is_never_overwritten(run, tmp_path):
    run("run", ONE_PHASE)
    before = lines_of(tmp_path / "run")
    with pytest.raises(ConfigError, match="holds a run already: resume it with --resume, or name another --output"):
        run("run", ONE_PHASE)
    assert lines_of(tmp_path / "run") == before


def test_resuming_without_a_run_is_refused(run, tmp_path):
    with pytest.raises(DataError, match="no run to resume: .*checkpoint.pt does not exist; start one without --resume"):
        run("nothing", ONE_PHASE, resume=True)
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file, and a run needs a folder"):
        run("file", ONE_PHASE)


def test_a_run_of_other_data_is_not_resumed(run, tmp_path):
    run("run", ONE_PHASE)
    with open(tmp_path / "shapes" / "captions.csv", "a") as table:
        table.write("train0000.png,a caption with new words,train\n")
    with pytest.raises(ConfigError, match="is of a run with vocabulary .*, not .*: resume with the data"):
        run("run", ONE_PHASE, resume=True)


def test_changed_options_are_reported_on_resuming(run, at_batch, capsys):
    at_batch(1, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        run("run", ONE_PHASE)
    run("run", dataclasses.replace(ONE_PHASE, clip_norm=0.5), resume=True)
    assert "resumed with clip_norm 0.5 instead of 1.0" in "".join(capsys.readouterr())


@pytest.fixture
def script_ciders(monkeypatch):
    """Make validation return these CIDErs in turn -> the weights that were validated, in turn."""

    def script(*ciders):
        validated, original = [], Validator.__call__

        def call(self, model, vocabulary, stages, ranks):
            validated.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            validation = original(self, model, vocabulary, stages, ranks)
            return dataclasses.replace(validation, scores=validation.scores | {"CIDEr": ciders[len(validated) - 1]})

        monkeypatch.setattr(Validator, "__call__", call)
        return validated

    return script


@pytest.mark.stress
def test_a_phase_stops_without_progress_and_the_next_starts_from_the_best(
    run, tmp_path, script_ciders, monkeypatch, make_setup
):
    validated = script_ciders(0.5, 0.7, 0.6, 0.69, 0.65, 0.71, 0.1, 0.2)
    first_weights = {}
    original = captioning.batch_loss

    def record_start(setup, phase, *rest):
        first_weights.setdefault(phase.name, {name: t.clone() for name, t in setup.model.state_dict().items()})
        return original(setup, phase, *rest)

    monkeypatch.setattr(captioning, "batch_loss", record_start)
    bundle = run("run", dataclasses.replace(ONE_PHASE, epochs=9, self_critical_epochs=9, patience=2))
    lines = lines_of(tmp_path / "run")
    assert [(line["phase"], line["CIDEr"], line["best"]) for line in lines] == [
        ("cross_entropy", 0.5, True), ("cross_entropy", 0.7, True), ("cross_entropy", 0.6, False),
        ("cross_entropy", 0.69, False), ("self_critical", 0.65, False), ("self_critical", 0.71, True),
        ("self_critical", 0.1, False), ("self_critical", 0.2, False),
    ]  # fmt: skip
    assert not torch.equal(validated[1]["decoder.output.weight"], validated[3]["decoder.output.weight"])
    for name, tensor in first_weights["self_critical"].items():
        assert torch.equal(tensor, validated[1][name]), name
    best = captioner.load(bundle, "cpu")
    for name, tensor in best.model.state_dict().items():
        assert torch.equal(tensor, validated[5][name].half().to(tensor.dtype)), name
    assert best.bundle.metrics["validation"]["epoch"] == 6
    assert best.bundle.metrics["validation"]["CIDEr"] == 0.71


def test_the_last_epoch_is_kept_on_request(run, tmp_path, script_ciders):
    validated = script_ciders(0.5, 0.7, 0.6)
    bundle = run("run", dataclasses.replace(ONE_PHASE, epochs=3, patience=1, keep="last"))
    assert [(line["CIDEr"], line["best"]) for line in lines_of(tmp_path / "run")] == [
        (0.5, True), (0.7, True), (0.6, True),
    ]  # fmt: skip
    for name, tensor in captioner.load(bundle, "cpu").model.state_dict().items():
        assert torch.equal(tensor, validated[2][name].half().to(tensor.dtype)), name


def test_fine_tuning_changes_the_last_stages_and_no_statistics(make_setup, tmp_path):
    options = dataclasses.replace(ALL_PHASES, self_critical_epochs=0)
    setup = make_setup(options)
    before = {name: tensor.clone() for name, tensor in setup.model.encoder.stages.state_dict().items()}
    fit(setup, options, tmp_path / "run")
    average = {
        name.removeprefix("module.encoder.stages."): tensor
        for name, tensor in state_of(tmp_path / "run")["average"].items()
    }
    after = setup.model.encoder.stages.state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias"}
    assert {name for name in before if not torch.equal(average[name], before[name])} == changed


def test_other_phases_do_not_change_the_encoder(make_setup, tmp_path):
    options = dataclasses.replace(ONE_PHASE, self_critical_epochs=1)
    setup = make_setup(options)
    before = {name: tensor.clone() for name, tensor in setup.model.state_dict().items()}
    fit(setup, options, tmp_path / "run")
    unchanged = {name for name, tensor in setup.model.state_dict().items() if torch.equal(tensor, before[name])}
    assert unchanged == {name for name in before if name.startswith("encoder.")}


def test_a_loss_that_is_not_finite_stops_the_run(run, tmp_path, at_batch):
    at_batch(BATCHES + 2, lambda loss: loss * float("nan"))
    with pytest.raises(DataError, match="the loss became nan: start again with a lower learning rate"):
        run("run", ONE_PHASE)
    assert len(lines_of(tmp_path / "run")) == 1
    captioner.load(tmp_path / "run" / "bundle", "cpu")
    assert all(tensor.isfinite().all() for tensor in state_of(tmp_path / "run")["model"].values())


def test_a_gradient_that_is_not_finite_stops_the_run(run, at_batch):
    at_batch(BATCHES, lambda loss: loss + (0 * loss).sqrt())  # its slope at 0 is infinite
    with pytest.raises(DataError, match="the gradient became nan: start again with a lower learning rate"):
        run("run", ONE_PHASE)


def test_training_lowers_the_loss(run, tmp_path):
    run("run", dataclasses.replace(ONE_PHASE, epochs=15, label_smoothing=0.0, doubly_stochastic_weight=0.0))
    losses = [line["loss"] for line in lines_of(tmp_path / "run")]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_from_scratch_on_little_data_learns_to_caption(run, tmp_path):
    # 56 steps with the default decay: without a warm-up the average would stay near the random weights (CIDEr 0.3).
    draw_shapes(tmp_path / "shapes", {"train": 24, "val": 8})
    options = FitOptions(
        epochs=2, batch_size=6, least_batches=25, min_count=1, learning_rate=0.02, warmup_steps=5, patience=9,
        label_smoothing=0.0, doubly_stochastic_weight=0.0,
    )  # fmt: skip
    run("run", options)
    assert max(line["CIDEr"] for line in lines_of(tmp_path / "run")) > 0.7


def test_the_average_warms_up_in_every_phase(run, tmp_path):
    run("run", ALL_PHASES)
    assert int(state_of(tmp_path / "run")["average"]["n_averaged"]) == 2 * BATCHES


def test_each_epoch_writes_a_line_scalars_and_pictures(run, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(captioning, "figure_strip", figure_strip)
    run("run", dataclasses.replace(ONE_PHASE, self_critical_epochs=1))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert {"loss", "CIDEr", "Bleu_1", "Bleu_4", "best", "learning_rate", "images", "train_seconds"} <= lines[0].keys()
    assert "reward" in lines[2] and "reward" not in lines[0]
    loss_names = {"cross_entropy_loss", "doubly_stochastic_loss"}
    assert [{name for name in line if name.endswith("_loss")} for line in lines] == [
        loss_names, loss_names, loss_names | {"self_critical_loss"},
    ]  # fmt: skip
    for line in lines[:2]:  # with weights of 1
        assert line["loss"] == pytest.approx(line["cross_entropy_loss"] + line["doubly_stochastic_loss"], abs=2e-4)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    for name in ("loss", *sorted(loss_names), "CIDEr", "learning_rate"):
        assert [(event.step, round(event.value, 3)) for event in events.Scalars(name)] == [
            (line["epoch"], pytest.approx(line[name], abs=1e-3)) for line in lines
        ]
    assert events.Tags()["images"] == ["validation/0", "validation/1", "validation/2"]
    pictures = events.Images("validation/2")
    assert [picture.step for picture in pictures] == [1, 2, 3]
    assert pictures[0].width > 192 and pictures[0].encoded_image_string.startswith(b"\x89PNG")


def test_the_bundle_gives_the_captions_that_were_validated(run, tmp_path, monkeypatch):
    validations, original = [], Validator.__call__

    def call(self, *arguments):
        validations.append(original(self, *arguments))
        return validations[-1]

    monkeypatch.setattr(Validator, "__call__", call)
    bundle = captioner.load(run("run", dataclasses.replace(ONE_PHASE, epochs=6)), "cpu")
    best = bundle.bundle.metrics["validation"]
    photos = [tmp_path / "shapes" / f"val000{number}.png" for number in range(3)]
    validation = validations[best["epoch"] - 1]
    assert [caption.text for caption in bundle.caption(photos)] == [caption.text for caption in validation.captions]
    assert {name: best[name] for name in validation.scores} == validation.scores
    assert bundle.decoding == DecodingOptions(beam_width=2, max_words=9)


@pytest.fixture(scope="module")
def timm_weights(tmp_path_factory):
    import timm
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("test_efficientnet.r160_in1k").state_dict(), path)
    return path


@pytest.mark.stress
def test_terminated_and_killed_processes_leave_complete_bundles_and_resume_exactly(tmp_path, timm_weights):
    draw_shapes(tmp_path / "shapes", {"train": 40, "val": 4})
    options = {
        "--data": tmp_path / "shapes", "--cache": tmp_path / "cache", "--encoder-weights": timm_weights,
        "--encoder": "timm:test_efficientnet.r160_in1k", "--image-size": 64, "--embedding-dim": 16, "--hidden-dim": 16,
        "--attention-dim": 8, "--epochs": 2, "--fine-tune-epochs": 2, "--fine-tune-stages": 1, "--device": "cpu",
        "--self-critical-epochs": 2, "--batch-size": 4, "--min-count": 1, "--patience": 9, "--beam-width": 2,
        "--average-decay": 0.5,
    }  # fmt: skip
    arguments = [str(argument) for pair in options.items() for argument in pair]
    command = [sys.executable, "-m", "tests.support.quick_training", "fit", *arguments]
    root = Path(__file__).parents[3]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(name, *more):
        return subprocess.Popen(
            [*command, "--output", str(tmp_path / name), *more], cwd=root, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def stop_after(process, epochs, number):
        log, deadline = tmp_path / "stopped" / "log.jsonl", time.monotonic() + 300
        while not log.exists() or len(log.read_text().splitlines()) < epochs:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
        captioner.load(tmp_path / "stopped" / "bundle", "cpu")
        return process.returncode, out, err

    status, _, errors = stop_after(start("stopped"), 1, signal.SIGTERM)
    assert status == 130 and "stopped as asked: go on with --resume" in errors
    assert "Traceback" not in errors
    assert stop_after(start("stopped", "--resume"), 4, signal.SIGKILL)[0] == -signal.SIGKILL
    for process in (start("stopped", "--resume"), start("whole")):
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "the captioner is in " in output
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
