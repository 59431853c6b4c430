"""Every photo is captioned exactly once, also when runs are killed, shared by ranks, or given bad photos."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock
from PIL import Image

from captioner import __main__ as command
from captioner import load
from captioner.bulk.run import BulkOptions, caption_in_bulk
from captioner.bundle.bundle import load_bundle, save_bundle
from captioner.captioner import Captioner
from captioner.confidence.model import PhotoLikeness
from captioner.errors import ConfigError
from tests.support.confidence_models import drawn_model

ROOT = Path(__file__).parents[3]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def names(path: Path) -> list[str]:
    return sorted(Path(line["image"]).name for line in lines(path))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- output


def test_captions_equal_those_of_the_library_and_bad_photos_are_listed(run, photos, bundle, tmp_path):
    folder, output = photos(11), tmp_path / "out" / "captions.jsonl"
    (folder / "bad.jpg").write_text("no photo")
    (folder / "empty.png").touch()
    status, err = run(folder, "--output", output, "--batch-size", 3, "--beam-width", 2, "--workers", 2)
    assert status == 2 and files(output.parent) == {"captions.jsonl", "captions.unreadable.jsonl"}
    assert f"{output}: 11 photos captioned" in err and "error: 2 could not be read" in err
    captioner = load(bundle, runtime="exact")
    paths = sorted(str(path) for path in folder.glob("photo*"))
    expected = captioner.caption(paths, replace(captioner.decoding, beam_width=2))
    entries = sorted(lines(output), key=lambda line: line["image"])
    assert [line["image"] for line in entries] == paths
    assert [line["caption"] for line in entries] == [caption.text for caption in expected]
    assert [line["probability"] for line in entries] == pytest.approx([caption.probability for caption in expected])
    unreadable = {Path(line["image"]).name: line["error"] for line in lines(output.with_suffix(".unreadable.jsonl"))}
    assert set(unreadable) == {"bad.jpg", "empty.png"} and "bad.jpg is not an image" in unreadable["bad.jpg"]
    assert all(error in err for error in unreadable.values())


def test_skipped_files_are_reported_at_the_end_without_an_error(run, photos, tmp_path):
    folder = photos(2)
    (folder / "notes.txt").write_text("a dog")
    (folder / "IMG_1.CR2").write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(40))
    for _ in range(2):  # also with nothing left to do
        status, err = run(folder, "--output", tmp_path / "c.jsonl")
        assert status == 0 and "note: 2 files were skipped: " in err
        assert "notes.txt (a text)" in err and "IMG_1.CR2 (a camera's raw photo: " in err
    assert files(tmp_path) >= {"c.jsonl"} and not (tmp_path / "c.unreadable.jsonl").exists()


def test_csv_and_coco_results_are_written_at_the_end(run, photos, tmp_path):
    folder = photos(5)
    assert run(folder, "--output", tmp_path / "a.csv", "--captions", 2)[0] == 0
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and len({row["image"] for row in rows}) == 5
    assert run(folder, "--output", tmp_path / "a.json")[0] == 0  # from the entries of a.jsonl
    results = json.loads((tmp_path / "a.json").read_text())
    assert sorted(result["image_id"] for result in results) == [0, 1, 2, 3, 4]
    best = {row["image"]: row["caption"] for row in reversed(rows)}
    assert {result["caption"] for result in results} == set(best.values())


def test_warnings_are_written_to_the_files_and_counted(run, photos, tmp_path):
    folder, output = photos(2), tmp_path / "a.jsonl"
    for name in ("black.png", "blue.png"):
        Image.new("RGB", (80, 64), name.removesuffix(".png")).save(folder / name)
    status, err = run(folder, "--output", output)
    assert status == 0 and "warning: 2 photos have the warning 'blank'" in err
    kinds = {
        Path(line["image"]).name: [warning["kind"] for warning in line.get("warnings", ())] for line in lines(output)
    }
    assert kinds == {"black.png": ["blank"], "blue.png": ["blank"], "photo-000000.jpg": [], "photo-000001.jpg": []}
    assert run(folder, "--output", tmp_path / "a.csv")[0] == 0  # from the entries of a.jsonl
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        warned = {Path(row["image"]).name for row in csv.DictReader(file) if "nothing to describe" in row["warnings"]}
    assert warned == {"black.png", "blue.png"}


def test_lines_hold_all_details_with_the_option(run, photos, tmp_path, capsys, bundle):
    folder, output = photos(1), tmp_path / "a.jsonl"
    assert run(folder, "--output", output, "--json", "--captions", 2)[0] == 0
    command.main([str(folder), "--json", "--captions", "2", "--bundle", str(bundle), "--runtime", "exact"])
    assert lines(output) == json.loads(capsys.readouterr().out)


def test_photos_of_archives_and_folders_are_copied_with_their_captions(run, photos, tmp_path):
    folder, output = photos(5), tmp_path / "copies"
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as tar:
        for path in folder.iterdir():
            tar.add(path, f"deep/{path.name}")
        damaged = tarfile.TarInfo("deep/bad.jpg")
        tar.addfile(damaged, io.BytesIO())
    arguments = folder, tmp_path / "more.tar.gz", "--output", output, "--format", "xmp", "--batch-size", 2
    assert run(*arguments)[0] == 2
    assert files(output) == {"photos", "more.tar.gz", "captions.jsonl", "captions.unreadable.jsonl"}
    assert files(output / "photos") == files(folder) == files(output / "more.tar.gz" / "deep")
    captions = {Path(line["image"]).name: line["caption"] for line in lines(output / "captions.jsonl")}
    for path in (*(output / "photos").iterdir(), *(output / "more.tar.gz" / "deep").iterdir()):
        assert captions[path.name].encode() in path.read_bytes()
        with Image.open(path) as copy, Image.open(folder / path.name) as original:
            assert copy.tobytes() == original.tobytes()


def test_a_photo_whose_copy_cannot_be_written_is_listed_as_failed(run, photos, tmp_path):
    folder, output = photos(3), tmp_path / "copies"
    (output / "photo-000001.jpg").mkdir(parents=True)  # blocks the copy
    assert run(folder, "--output", output, "--format", "xmp")[0] == 2
    assert names(output / "captions.jsonl") == ["photo-000000.jpg", "photo-000002.jpg"]
    assert names(output / "captions.unreadable.jsonl") == ["photo-000001.jpg"]


def test_no_form_of_inputs_lets_a_copy_replace_an_original(run, photos, tmp_path, monkeypatch):
    folder = photos(2)
    photos(2, "other")
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*.jpg")}
    for inputs, output in (
        (sorted(folder.iterdir()), "photos"),  # as the shell expands photos/*.jpg
        (["photos", "other"], "."),
        (["photos/photo-000000.jpg"], "photos"),
        (["photos/*.jpg"], "."),
    ):
        status, err = run(*inputs, "--output", output, "--format", "xmp")
        assert status == 2 and f"error: --output {output} lies among the photos" in err
        assert not list(tmp_path.rglob("captions*")) and len(before) == 4
        assert {path: path.read_bytes() for path in before} == before


# --- resuming


def trusting(bundle: Path) -> Path:
    """Write a bundle beside another: the same captioner with a confidence model that is surer of some photos."""
    loaded = load_bundle(bundle)
    weights = tuple(np.random.default_rng(0).normal(0, 4, 64).tolist())
    means = Captioner(loaded, "cpu").encode(np.zeros((1, 64, 64, 3), np.uint8)).mean(dim=(1, 2))[0].numpy()
    likeness = PhotoLikeness(weights, -float(means @ np.array(weights)))
    save_bundle(replace(loaded, confidence=replace(drawn_model(64, 3.0), photo=likeness)), bundle.with_name("trusting"))
    return bundle.with_name("trusting")


@pytest.mark.parametrize("name", ["captions.jsonl", "captions.csv"])
def test_unsure_captions_go_to_a_review_list(photos, bundle, tmp_path, capsys, name):
    folder, output, model = photos(7), tmp_path / "out" / name, trusting(bundle)
    captioner = load(model, runtime="exact")
    captions = {str(path): captioner.caption([path])[0] for path in folder.iterdir()}
    ranked = sorted(caption.confidence for caption in captions.values())
    minimum = (ranked[2] + ranked[3]) / 2
    arguments = [str(folder), "--output", str(output), "--bundle", str(model), "--runtime", "exact"]
    arguments += ["--min-confidence", str(minimum)]
    assert command.main(arguments) == 0
    err = capsys.readouterr().err
    assert f"{output}: 4 photos captioned" in err and "3 photos with a confidence below" in err
    sure, unsure = lines(tmp_path / "out" / "captions.jsonl"), lines(tmp_path / "out" / "captions.unsure.jsonl")
    assert len(sure) == 4 and len(unsure) == 3
    for entry in (*sure, *unsure):
        caption = captions[entry["image"]]
        assert entry["caption"] == caption.text and entry["confidence"] == pytest.approx(caption.confidence, rel=1e-3)
    assert min(entry["confidence"] for entry in sure) >= minimum > max(entry["confidence"] for entry in unsure)
    if name.endswith(".csv"):
        rows = list(csv.DictReader(output.read_text().splitlines()))
        assert [float(row["confidence"]) for row in rows] == [entry["confidence"] for entry in sure]
    assert command.main(arguments) == 0  # entries of either list count as done
    assert "already" in capsys.readouterr().err and len(lines(tmp_path / "out" / "captions.unsure.jsonl")) == 3


def test_unsure_captions_are_not_written_into_copies(photos, bundle, tmp_path, capsys):
    folder, output, model = photos(2), tmp_path / "copies", trusting(bundle)
    arguments = [str(folder), "--output", str(output), "--format", "xmp", "--bundle", str(model), "--runtime", "exact"]
    assert command.main([*arguments, "--min-confidence", "1"]) == 0
    assert files(output) == {"captions.jsonl", "captions.unsure.jsonl"}
    assert lines(output / "captions.jsonl") == [] and len(lines(output / "captions.unsure.jsonl")) == 2


def test_unsure_captions_are_not_written_beside_photos(photos, bundle, capsys):
    folder, model = photos(2), trusting(bundle)
    arguments = [str(folder), "--format", "txt", "--on-conflict", "overwrite", "--bundle", str(model)]
    (folder / "photo-000001.txt").write_text("mine")
    for _ in range(2):
        assert command.main([*arguments, "--runtime", "exact", "--min-confidence", "1"]) == 0
        unsure = folder / ".captioner" / "txt.unsure.jsonl"
        assert f"2 photos with a confidence below 1: review their captions in {unsure}" in capsys.readouterr().err
        assert names(unsure) == ["photo-000000.jpg", "photo-000001.jpg"] and lines(unsure)[0]["caption"]
        assert [path.read_text() for path in folder.glob("*.txt")] == ["mine"]


def test_a_confidence_threshold_needs_a_captioner_with_a_confidence_model(run, photos, bundle, tmp_path, capsys):
    folder, output = photos(1), tmp_path / "captions.jsonl"
    status, err = run(folder, "--output", output, "--min-confidence", "0.5")
    assert status == 2 and "this captioner has no confidence model" in err and "training calibrate" in err
    arguments = [str(folder), "--output", str(output), "--bundle", str(trusting(bundle)), "--runtime", "exact"]
    assert command.main([*arguments, "--min-confidence", "0.5", "--temperature", "1"]) == 2
    assert "sampled captions have no confidence" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([*arguments, "--min-confidence", "1.5"])
    assert "must be a number from 0 to 1, not '1.5'" in capsys.readouterr().err


def test_finished_photos_are_not_captioned_again(run, photos, tmp_path, monkeypatch):
    folder, output = photos(3), tmp_path / "a.jsonl"
    (folder / "bad.jpg").touch()
    assert run(folder, "--output", output)[0] == 2
    before = output.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(command, "_load", lambda *_: pytest.fail("nothing is to be captioned"))
        status, err = run(folder, folder / "photo-000000.jpg", "--output", output)
    assert status == 2 and output.read_bytes() == before and "has 4 photos already" in err
    Image.new("RGB", (9, 9)).save(folder / "bad.jpg")
    output.with_suffix(".unreadable.jsonl").unlink()
    assert run(folder, "--output", output)[0] == 0 and len(lines(output)) == 4


def test_reading_ahead_is_limited_to_a_few_batches(photos, bundle, tmp_path, monkeypatch):
    from captioner.bulk import run as bulk

    folder, captioner, started_count = photos(60), load(bundle, runtime="exact"), 0
    caption_pixels, ahead = Captioner.caption_pixels, []

    def count_found(*arguments):
        nonlocal started_count
        for photo in photos_at(*arguments):
            started_count += 1
            yield photo

    def caption_slowly(self, pixels, *rest):
        time.sleep(0.05)  # time in which more could be read ahead
        ahead.append(started_count - captioned_count)
        return caption_pixels(self, pixels, *rest)

    def count(number: int) -> None:
        nonlocal captioned_count
        captioned_count += number

    photos_at, captioned_count = bulk.photos_at, 0
    monkeypatch.setattr(bulk, "photos_at", count_found)
    monkeypatch.setattr(Captioner, "caption_pixels", caption_slowly)
    options = BulkOptions(tmp_path / "a.jsonl", batch_size=4)
    totals = caption_in_bulk(
        [str(folder)], options, lambda: (captioner, captioner.decoding), events=bulk.BulkEvents(captioned=count)
    )
    assert totals.captioned == captioned_count == 60
    assert 8 < max(ahead) <= 4 + 1 + 8 + 1  # in the batch, the one that found no room, those read ahead, and the next


# --- errors


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--output", "photo.jpg"], "--output photo.jpg: name a file that ends in .jsonl"),
        (["--output", "a.jsonl", "--figure", "f.png"], "--figure draws"),
        (["--output", "a.jsonl", "--maps", "evidence"], "--maps draws"),
        (["--format", "csv"], "add --output"),
        (["--min-confidence", "0.5"], "add --output"),
        (["s3://bucket/photos", "--output", "a.jsonl"], "s3://bucket/photos cannot be read.*s3fs"),
        (["s3://bucket/photos"], "add --output"),
        (["a.tar"], "a.tar: captions of archives .* add --output"),
        (["--output", "PHOTOS", "--format", "xmp"], "lies among the photos"),
        (["--output", "PHOTOS/a", "--format", "xmp", "--recursive"], "lies among the photos"),
        (["--output", "PHOTOS/photo-000000.jpg/a.csv"], "cannot be made"),
    ],
)
def test_each_impossible_request_ends_with_an_error_message(run, photos, tmp_path, monkeypatch, arguments, reason):
    folder = photos(1)
    monkeypatch.chdir(tmp_path)
    status, err = run(folder, *(argument.replace("PHOTOS", str(folder)) for argument in arguments))
    assert status == 2 and err.splitlines()[-1].startswith("error: ")
    assert re.search(reason, err)


def test_a_file_that_is_no_journal_is_left_alone(run, photos, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "mine"}\n')
    status, err = run(photos(1), "--output", tmp_path / "a.jsonl")
    assert status == 2 and "a.jsonl, line 1 was not written by this command" in err
    assert (tmp_path / "a.jsonl").read_text() == '{"text": "mine"}\n'


def test_two_runs_cannot_write_one_output(photos, tmp_path):
    options = BulkOptions(tmp_path / "a.jsonl")
    with FileLock(tmp_path / ".a.jsonl.run-lock"), pytest.raises(ConfigError, match="another run writes .*a.jsonl"):
        caption_in_bulk([str(photos(1))], options, lambda: pytest.fail("the run started"))


# --- real processes that are killed


def process(bundle: Path, *arguments: object, ranks: int = 1) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "captioner", *map(str, arguments),
         "--bundle", str(bundle), "--runtime", "exact", "--batch-size", "4"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_lines(path: Path, count: int, running: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert running.poll() is None, running.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def workers_of(running: subprocess.Popen) -> list[psutil.Process]:
    return [child for child in psutil.Process(running.pid).children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.stress
def test_a_run_killed_at_any_moment_resumes_and_captions_every_photo_once(bundle, photos, tmp_path):
    folder, output = photos(400), tmp_path / "a.json"
    journal = output.with_suffix(".jsonl")
    (folder / "bad.jpg").touch()
    for killed_at in (1, 130):
        running = process(bundle, folder, "--output", output)
        wait_for_lines(journal, killed_at, running)
        workers = workers_of(running)
        running.kill()
        running.communicate()
        assert workers and not output.exists()
        assert not psutil.wait_procs(workers, timeout=20)[1]  # they end without a signal
        with open(journal, "ab") as file:
            file.write(b'{"image": "half a li')
    running = process(bundle, folder, "--output", output)
    wait_for_lines(journal, 250, running)
    for worker in workers_of(running):
        worker.kill()  # another worker replaces it
    err = running.communicate(timeout=120)[1].decode()
    assert running.returncode == 2 and "Traceback" not in err and "Warning" not in err
    assert names(journal) == [f"photo-{number:06}.jpg" for number in range(400)]
    assert names(output.with_suffix(".unreadable.jsonl")) == ["bad.jpg"]
    assert sorted(result["image_id"] for result in json.loads(output.read_text())) == list(range(400))


@pytest.mark.stress
def test_an_interrupt_from_the_terminal_ends_the_run_and_its_processes_quietly(bundle, photos, tmp_path):
    running = process(bundle, photos(2000), "--output", tmp_path / "a.jsonl")
    wait_for_lines(tmp_path / "a.jsonl", 4, running)
    workers = workers_of(running)
    running.send_signal(signal.SIGINT)
    err = running.communicate(timeout=60)[1].decode()
    assert running.returncode == command.INTERRUPTED and "Traceback" not in err
    assert workers and not any(worker.is_running() for worker in workers)


@pytest.mark.stress
def test_ranks_share_the_photos_and_the_file_also_after_one_was_killed(bundle, photos, tmp_path):
    folder, output = photos(400), tmp_path / "a.csv"
    journal = output.with_suffix(".jsonl")
    (folder / "bad.jpg").touch()
    running = process(bundle, folder, "--output", output, ranks=2)
    wait_for_lines(journal, 40, running)
    ranks = [child for child in psutil.Process(running.pid).children() if "--bundle" in child.cmdline()]
    assert len(ranks) == 2
    ranks[1].kill()
    running.communicate(timeout=120)
    assert running.returncode != 0 and not output.exists() and len(lines(journal)) < 400
    running = process(bundle, folder, "--output", output, ranks=2)
    err = running.communicate(timeout=120)[1].decode()
    assert running.returncode == 0 and "400 photos captioned" in err and "1 could not be read" in err
    assert names(journal) == [f"photo-{number:06}.jpg" for number in range(400)]
    assert names(output.with_suffix(".unreadable.jsonl")) == ["bad.jpg"]
    with open(output, encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 400
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
