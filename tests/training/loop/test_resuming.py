"""Every option of a resumed run that has changed is applied or refused."""

import dataclasses
import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from captioner.bundle.bundle import load_bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import ConfigError
from captioner.labels.names import LabelNames
from tests.support.shapes import draw_shapes, write_boxes
from tests.support.training_runs import ONE_PHASE, lines_of, state_of
from tests.support.training_setups import make_training_setup
from training import captioning, loop
from training.captioning import fit
from training.data.boxes.readers.formats import read_boxes
from training.data.readers.sentence_files import read_sentences
from training.data.records import read_records
from training.loop import Interrupted
from training.options import FitOptions
from training.runs.resuming import APPLIED_TO_MODEL, compare_runs

LONG = replace(ONE_PHASE, epochs=10, warmup_steps=1, average_decay=0.9)
SCENARIOS = {
    "captions": LONG,
    "hard": replace(LONG, epochs=3, expected_share=0.0),
    "boxes": LONG,
    "also": LONG,
    "replay": replace(LONG, batch_size=4, distillation_weight=0.5),
    "fine_tune": replace(LONG, epochs=0, fine_tune_epochs=10, fine_tune_stages=1),
    "labels": replace(LONG, epochs=0, fine_tune_epochs=10, fine_tune_stages=1),
    "self_critical": replace(LONG, epochs=0, self_critical_epochs=10),
    "text": replace(LONG, sentences_per_batch=2, sentence_min_count=1),
}
"""Runs that are stopped in their second epoch."""

THREE_NAMES = LabelNames.from_json(["square", "circle", "triangle"])

APPLIED = {
    "epochs": ("captions", 5),
    "batch_size": ("captions", 2),
    "least_batches": ("captions", 7),
    "captions_per_image": ("captions", 1),
    "mirror": ("captions", True),
    "learning_rate": ("captions", 0.001),
    "warmup_steps": ("captions", 3),
    "weight_decay": ("captions", 0.5),
    "clip_norm": ("captions", 0.01),
    "label_smoothing": ("captions", 0.5),
    "doubly_stochastic_weight": ("captions", 0.0),
    "average_decay": ("captions", 0.1),
    "supervision_weight": ("boxes", 3.0),
    "balance": ("also", 0.0),
    "expected_share": ("hard", 0.9),
    "reinforce_weight": ("hard", 2.0),
    "entropy_weight": ("hard", 0.5),
    "replay_share": ("replay", 0.25),
    "replay_images": ("replay", 2),
    "distillation_weight": ("replay", 5.0),
    "fine_tune_epochs": ("fine_tune", 5),
    "fine_tune_learning_rate": ("fine_tune", 0.001),
    "encoder_learning_rate": ("fine_tune", 0.01),
    "label_weight": ("labels", 30.0),
    "self_critical_epochs": ("self_critical", 5),
    "self_critical_learning_rate": ("self_critical", 0.001),
    "self_critical_samples": ("self_critical", 5),
    "self_critical_baseline": ("self_critical", "greedy"),
    "cross_entropy_weight": ("self_critical", 2.0),
    "sentences_per_batch": ("text", 3),
    "sentence_weight": ("text", 2.0),
}
"""Option -> the run in which it matters, and another value, which must change the result of training."""

SHOWN_BY_TESTS_OF_THEIR_OWN = {"patience", "confidence", "keep"}

REFUSED = {
    "min_count": ("captions", 2, "it selected the words"),
    "sentence_min_count": ("text", 2, "it selected the words"),
    "seed": ("captions", 5, "it drew the first weights"),
    "validation_images": ("captions", 2, "scores on other photos"),
    "fine_tune_stages": ("fine_tune", 2, "the phase fine_tune has started"),
}


def test_every_option_of_training_is_applied_or_refused():
    assert not APPLIED.keys() & REFUSED.keys()
    names = {field.name for field in dataclasses.fields(FitOptions)}
    assert {*APPLIED, *REFUSED, *SHOWN_BY_TESTS_OF_THEIR_OWN} == names


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory):
    """A folder with the data of all runs, and the stopped runs by scenario."""
    folder = tmp_path_factory.mktemp("runs")
    drawings = draw_shapes(folder / "shapes", {"train": 8, "val": 3})
    with open(folder / "shapes" / "captions.csv", "a") as table:
        for drawing in drawings["train"][::2]:
            table.write(f"{drawing.path.name},two things are there,train\n{drawing.path.name},a thing,train\n")
    write_boxes(folder / "boxes.json", drawings)
    draw_shapes(folder / "earlier", {"train": 6}, seed=9)
    draw_shapes(folder / "more", {"train": 3, "val": 2}, seed=7)
    (folder / "mine.txt").write_text("a red circle\na blue square\na zebra\n")
    return folder


@pytest.fixture
def make_scenario_setup(runs_folder, three_stages, three_stages_config, labelled_encoder, words_without_java):
    def make(scenario, options, **config):
        start = load_bundle(runs_folder / "start" / "bundle") if scenario == "replay" else None
        config = replace(three_stages_config, **{"attention": "hard" if scenario == "hard" else "soft", **config})
        weights = None if start else three_stages
        if scenario == "labels":
            config = replace(config, encoder=labelled_encoder.name, labels=2)
            weights = runs_folder / "labelled.safetensors"
            if not weights.exists():
                save_file(labelled_encoder.network().state_dict(), weights)
        return make_training_setup(
            read_records(runs_folder / "shapes"), config, DecodingOptions(beam_width=1, max_words=9), options,
            runs_folder / "cache", weights, "cpu", start,
            read_records(runs_folder / "earlier") if start else None,
            boxes=read_boxes(runs_folder / "boxes.json") if scenario == "boxes" else None,
            label_names=THREE_NAMES if scenario == "labels" else None,
            also=[read_records(runs_folder / "more")] if scenario == "also" else [],
            texts=read_sentences([runs_folder / "mine.txt"]) if scenario == "text" else None,
        )  # fmt: skip

    return make


@pytest.fixture
def train_scenario(runs_folder, make_scenario_setup, monkeypatch):
    """Run a scenario for a number of batches, or to its end."""
    monkeypatch.setattr(loop.Curves, "add", lambda *_: None)
    original = captioning.batch_loss

    def train_scenario(scenario, options, output, batches=None, resume=False, **config):
        calls = []

        def count_batch(*arguments):
            calls.append(1)
            if len(calls) == batches:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(*arguments)

        monkeypatch.setattr(captioning, "batch_loss", count_batch)
        try:
            fit(make_scenario_setup(scenario, options, **config), options, output, resume)
        except Interrupted:
            assert batches
        return output

    return train_scenario


@pytest.fixture
def copy_stopped_run(runs_folder, train_scenario):
    """A copy of a scenario's run that was stopped in its second epoch; each is run once."""

    def copy_stopped_run(scenario, target):
        run = runs_folder / "stopped" / scenario
        if not run.exists():
            if scenario == "replay" and not (runs_folder / "start").exists():
                train_scenario("captions", replace(ONE_PHASE, epochs=1), runs_folder / "start")
            train_scenario(scenario, SCENARIOS[scenario], run, batches=4 if scenario != "replay" else 5)
        shutil.copytree(run, target)
        return target

    return copy_stopped_run


def trained_tensors(run):
    """Return all trained tensors of a run, including the average."""
    state = state_of(run)
    return [tensor for part in ("model", "average") for tensor in state[part].values()]


@pytest.mark.parametrize("name", APPLIED)
def test_a_changed_option_is_applied(name, runs_folder, train_scenario, copy_stopped_run, tmp_path, capsys):
    scenario, value = APPLIED[name]
    options = SCENARIOS[scenario]
    assert getattr(options, name) != value
    unchanged_run = runs_folder / "unchanged" / scenario
    if not unchanged_run.exists():
        train_scenario(scenario, options, copy_stopped_run(scenario, unchanged_run), batches=3, resume=True)
    capsys.readouterr()
    run = train_scenario(
        scenario,
        replace(options, **{name: value}),
        copy_stopped_run(scenario, tmp_path / "run"),
        batches=3,
        resume=True,
    )
    assert f"resumed with {name} {value!r} instead of {getattr(options, name)!r}" in "".join(capsys.readouterr())
    assert state_of(run)["run"]["options"][name] == value
    pairs = zip(trained_tensors(run), trained_tensors(unchanged_run), strict=True)
    assert any(not torch.equal(tensor, unchanged_tensor) for tensor, unchanged_tensor in pairs)


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_cannot_change_is_refused(name, runs_folder, train_scenario, copy_stopped_run, tmp_path):
    scenario, value, reason = REFUSED[name]
    run = copy_stopped_run(scenario, tmp_path / "run")
    before = (run / "checkpoint.pt").read_bytes()
    flag = name.replace("_", "-")
    with pytest.raises(ConfigError, match=f"is of a run with {name} .*{reason}.*; resume without --{flag}, or start"):
        train_scenario(scenario, replace(SCENARIOS[scenario], **{name: value}), run, resume=True)
    assert (run / "checkpoint.pt").read_bytes() == before


def schedule_of(run):
    """Return the optimiser's weight decay, rate and peak rate of a stopped run, by group."""
    return [(group["weight_decay"], group["lr"], group["initial_lr"]) for group in run.learner.optimizer.param_groups]


def test_the_learning_rate_follows_the_new_schedule_at_this_step(
    train_scenario, copy_stopped_run, tmp_path, monkeypatch
):
    schedules = []
    original = loop.train_epoch

    def train_epoch(run, *rest):
        schedules.append(schedule_of(run))
        return original(run, *rest)

    monkeypatch.setattr(loop, "train_epoch", train_epoch)
    options = replace(LONG, learning_rate=0.1, weight_decay=0.5, warmup_steps=0, epochs=4)
    train_scenario("captions", options, copy_stopped_run("captions", tmp_path / "run"), batches=1, resume=True)
    matrices, others = schedules[0]
    rate = 0.1 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * 4 / 12)).item())  # 4 of 4 epochs of 3 batches
    assert matrices == pytest.approx((0.5, rate, 0.1), rel=1e-6)
    assert others == pytest.approx((0.0, rate, 0.1), rel=1e-6)


def test_the_average_resumes_at_its_step(train_scenario, copy_stopped_run, tmp_path):
    run = train_scenario("captions", LONG, copy_stopped_run("captions", tmp_path / "run"), batches=3, resume=True)
    assert int(state_of(run)["average"]["n_averaged"]) == 7


def test_with_another_batch_size_an_epoch_resumes_at_the_same_share(train_scenario, copy_stopped_run, tmp_path):
    run = copy_stopped_run("captions", tmp_path / "run")
    before = state_of(run)["progress"]
    assert (before["epoch"], before["step"], before["batches"]) == (1, 1, 3)
    train_scenario("captions", replace(LONG, batch_size=1), run, batches=1, resume=True)
    after = state_of(run)["progress"]  # a third of 8 batches, rounded down, and one more
    assert (after["epoch"], after["step"], after["batches"]) == (1, 3, 8)
    assert before["loss_sum"] < after["loss_sum"] < 5 * before["loss_sum"]


def test_a_finished_run_continues_with_more_epochs_and_phases(train_scenario, tmp_path, capsys):
    options = replace(ONE_PHASE, epochs=1)
    run = train_scenario("captions", options, tmp_path / "run")
    train_scenario("captions", replace(options, epochs=2), run, resume=True)
    fine_tune_options = replace(options, epochs=2, fine_tune_epochs=1, fine_tune_stages=1)
    train_scenario("captions", fine_tune_options, run, resume=True)
    train_scenario("captions", replace(fine_tune_options, self_critical_epochs=1), run, resume=True)
    assert [line["phase"] for line in lines_of(run)] == ["cross_entropy"] * 2 + ["fine_tune", "self_critical"]
    capsys.readouterr()
    train_scenario("captions", replace(fine_tune_options, self_critical_epochs=1, clip_norm=0.1), run, resume=True)
    output = "".join(capsys.readouterr())
    assert "nothing left to do, and clip_norm changed nothing" in output and "resumed with" not in output


def test_options_of_a_finished_phase_are_refused(train_scenario, tmp_path):
    options = replace(ONE_PHASE, epochs=1, self_critical_epochs=2)
    run = train_scenario("captions", options, tmp_path / "run", batches=4)
    for name, value in [("epochs", 3), ("learning_rate", 0.5), ("fine_tune_epochs", 1), ("expected_share", 0.1)]:
        changed_options = replace(options, fine_tune_stages=1 if name == "fine_tune_epochs" else 0, **{name: value})
        with pytest.raises(ConfigError, match="is of a run with .*: the phase (cross_entropy|fine_tune) "):
            train_scenario("captions", changed_options, run, resume=True)


def test_shortened_fine_tuning_is_followed_by_its_own_features(train_scenario, copy_stopped_run, tmp_path):
    options = replace(SCENARIOS["fine_tune"], fine_tune_epochs=0, self_critical_epochs=1)
    run = train_scenario("fine_tune", options, copy_stopped_run("fine_tune", tmp_path / "run"), resume=True)
    lines = lines_of(run)
    assert [line["phase"] for line in lines] == ["fine_tune", "self_critical"]


@pytest.mark.parametrize("patience, phases", [(1, 2), (9, 3)])
def test_changed_patience_applies_at_once(train_scenario, tmp_path, monkeypatch, patience, phases):
    options = replace(ONE_PHASE, epochs=3, learning_rate=1e-9)  # nothing is learned: epoch 2 is no better
    run = train_scenario("captions", options, tmp_path / "run", batches=7)
    assert state_of(run)["progress"]["stale_epochs"] == 1
    train_scenario("captions", replace(options, patience=patience), run, resume=True)
    assert len(lines_of(run)) == phases


def test_keep_last_undoes_an_early_stop(train_scenario, tmp_path, capsys):
    options = replace(ONE_PHASE, epochs=3, learning_rate=1e-9, patience=1)  # nothing is learned: epoch 2 is no better
    run = train_scenario("captions", options, tmp_path / "run")
    assert [line["best"] for line in lines_of(run)] == [True, False]
    capsys.readouterr()
    train_scenario("captions", replace(options, epochs=4, clip_norm=0.1), run, resume=True)
    output = "".join(capsys.readouterr())
    assert len(lines_of(run)) == 2 and "epochs, clip_norm changed nothing" in output
    assert "ended after 1 epoch without a better score (--patience); give a --patience above 1 or --keep" in output
    train_scenario("captions", replace(options, keep="last"), run, resume=True)
    assert [line["best"] for line in lines_of(run)] == [True, False, True]


def test_dropout_is_the_only_option_of_the_captioner_that_may_change(
    train_scenario, copy_stopped_run, tmp_path, three_stages_config
):
    assert {"dropout"} == APPLIED_TO_MODEL
    run = copy_stopped_run("captions", tmp_path / "run")
    train_scenario("captions", LONG, run, batches=3, resume=True, dropout=0.0)
    assert state_of(run)["run"]["captioner"]["dropout"] == 0.0
    other_run = train_scenario(
        "captions", LONG, copy_stopped_run("captions", tmp_path / "other"), batches=3, resume=True
    )
    assert any(
        not torch.equal(tensor, other_tensor)
        for tensor, other_tensor in zip(trained_tensors(run), trained_tensors(other_run), strict=True)
    )
    with pytest.raises(
        ConfigError, match="activation 'relu', not 'tanh': its architecture and preprocessing are fixed"
    ):
        train_scenario("captions", LONG, run, resume=True, activation="tanh")


CAPTIONER = {
    "encoder": "vgg16", "image_size": 96, "fit": "pad", "scales": 2, "attention": "hard", "score": "dot",
    "activation": "tanh", "query": "hidden_word", "gate": "off", "deep_output": False, "embedding_dim": 9,
    "hidden_dim": 9, "attention_dim": 9, "labels": 4, "tied_output": True,
    "projection_dim": 3, "text": True,
}  # fmt: skip
DECODING = {
    "beam_width": 9, "captions_per_image": 2, "max_words": 3, "length_penalty": 0.1, "block_repeats": 1,
    "temperature": 0.5, "top_p": 0.5, "seed": 4, "hard_context": "expected",
    "repeat_nouns": False,
}  # fmt: skip
IDENTITY = {
    "encoder_weights": "other", "start": "other", "replay": "other", "boxes": "other", "vocabulary": 9,
    "train_images": 9, "validation_images": 9, "photos": "other", "replay_photos": "other",
    "label_names": "other", "also": ["other"], "sentences": "other",
}  # fmt: skip


@pytest.mark.parametrize(
    ("part", "options", "others"),
    [("captioner", CaptionerConfig(), CAPTIONER), ("decoding", DecodingOptions(), DECODING)],
)
def test_every_option_of_the_captioner_and_of_decoding_is_refused(part, options, others, tmp_path):
    applied_options = APPLIED_TO_MODEL if part == "captioner" else set()
    assert others.keys() | applied_options == options.to_json().keys()
    for name, value in others.items():
        with pytest.raises(ConfigError, match=f"run with {name} .*; resume without --{name.replace('_', '-')}, or"):
            compare_runs({part: options.to_json()}, {part: options.to_json() | {name: value}}, "", tmp_path)


def test_every_other_part_of_a_runs_identity_is_refused(copy_stopped_run, tmp_path):
    stored = state_of(copy_stopped_run("captions", tmp_path / "run"))["run"]
    assert stored.keys() - {"options", "captioner", "decoding"} == IDENTITY.keys()
    assert compare_runs(stored, stored, "cross_entropy", tmp_path) == {}
    for name, value in IDENTITY.items():
        with pytest.raises(ConfigError, match="is of a run with .*: resume with the data, and the captioner or"):
            compare_runs(stored, stored | {name: value}, "cross_entropy", tmp_path)


def test_other_captions_of_the_same_number_of_photos_are_refused(
    train_scenario, copy_stopped_run, runs_folder, tmp_path
):
    table = runs_folder / "shapes" / "captions.csv"
    before = table.read_text()
    run = copy_stopped_run("captions", tmp_path / "run")
    try:
        table.write_text(before.replace("two things are there", "there are two things"))
        with pytest.raises(ConfigError, match="is of a run with other photos, captions or splits: resume"):
            train_scenario("captions", LONG, run, resume=True)
    finally:
        table.write_text(before)


def rewrite_as_older_version(run, phase, between_phases):
    """Rewrite a checkpoint in the form of versions that counted phases."""
    state = state_of(run)
    for name in ("batches",):
        del state["progress"][name]
    for name in ("photos", "replay_photos", "decoding"):
        del state["run"][name]
    state["progress"]["phase"], state["between_phases"] = phase, between_phases
    if between_phases:
        state["progress"]["epoch"] = state["progress"]["stale_epochs"] = 0
    torch.save(state, run / "checkpoint.pt")


def test_a_checkpoint_of_an_older_version_is_resumed(train_scenario, copy_stopped_run, tmp_path):
    run, older_run = copy_stopped_run("captions", tmp_path / "run"), copy_stopped_run("captions", tmp_path / "other")
    rewrite_as_older_version(older_run, 0, between_phases=False)
    for output in (run, older_run):
        train_scenario("captions", LONG, output, batches=3, resume=True)
    assert all(
        torch.equal(tensor, older_tensor)
        for tensor, older_tensor in zip(trained_tensors(run), trained_tensors(older_run), strict=True)
    )


def test_a_checkpoint_of_an_older_version_between_phases_resumes_with_the_next(train_scenario, tmp_path):
    options = replace(ONE_PHASE, epochs=1, self_critical_epochs=1)
    whole_run = train_scenario("captions", options, tmp_path / "whole")
    run = train_scenario("captions", replace(options, self_critical_epochs=0), tmp_path / "run")
    rewrite_as_older_version(run, 1, between_phases=True)
    state = state_of(run)
    state["run"]["options"]["self_critical_epochs"] = 1
    torch.save(state, run / "checkpoint.pt")
    train_scenario("captions", options, run, resume=True)
    assert lines_of(run) == lines_of(whole_run)
    rewrite_as_older_version(run, 2, between_phases=True)
    before = json.dumps(lines_of(run))
    train_scenario("captions", options, run, resume=True)
    assert json.dumps(lines_of(run)) == before
