"""The command line captions readable photos, reports unreadable ones, and draws pictures on request."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from captioner import __main__ as command
from captioner.bundle.bundle import Bundle, save_bundle
from captioner.captioner import Captioner
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import TextError
from captioner.figures import figure_strip
from captioner.images.photo import open_image
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights
from captioner.overlays import overlay
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary
from tests.support.confidence_models import drawn_model

ROOT = Path(__file__).parents[2]
WORDS = ("a", "dog", "cat", "runs", "sleeps", "on", "grass", "étoile", "the", "ball")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    """A captioner with random weights and a 5 x 5 grid, whose captions are all similar."""
    torch.manual_seed(3)
    config = CaptionerConfig(
        encoder="timm:test_efficientnet.r160_in1k", image_size=160, embedding_dim=8, hidden_dim=8, attention_dim=8
    )
    vocabulary = Vocabulary(SPECIAL_WORDS + WORDS)
    model = CaptionModel(config, len(vocabulary)).eval()
    with torch.no_grad():
        for weights in model.decoder.score.parameters():
            weights.mul_(20)  # maps that vary over the grid
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    options = DecodingOptions(beam_width=2, max_words=5, length_penalty=0.0)
    save_bundle(Bundle(model, vocabulary, LoadedWeights("timm:random", "0" * 64), options), folder)
    return str(folder)


@pytest.fixture
def caption(bundle, capsys):
    """Return a function that runs the command in this process -> (exit status, standard output, standard error)."""

    def run(*arguments: object, bundle: str | Path = bundle) -> tuple[int, str, str]:
        try:
            status = command.main([*map(str, arguments), "--bundle", str(bundle)])
        except SystemExit as stop:  # raised by argparse
            status = stop.code
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def photo(tmp_path):
    def draw(name: str, width: int = 40, height: int = 30, seed: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return draw


def process(*arguments: object, **options) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    environment.pop("PYTHONUNBUFFERED", None)  # most users' output is buffered
    return subprocess.Popen(
        [sys.executable, "-m", "captioner", *map(str, arguments)], cwd=ROOT, env=environment, **options
    )


# --- output


def test_each_photo_gives_a_line_in_the_given_order(caption, photo):
    paths = [photo(name, seed=seed) for seed, name in enumerate(["c.png", "a.jpg", "b.png"])]
    status, out, err = caption(*paths, "--batch-size", 2)
    assert (status, err) == (0, "")
    lines = [line.split(": ") for line in out.splitlines()]
    assert [name for name, _ in lines] == [str(path) for path in paths]
    assert all(set(text.split()) <= set(WORDS) and text for _, text in lines)


def test_a_folder_a_glob_and_a_file_give_each_photo_once(caption, photo, tmp_path):
    first, second = photo("in/1.png"), photo("in/2.jpg")
    photo("in/deeper/3.png")
    (tmp_path / "in" / "notes.txt").write_text("not a photo")
    assert caption(tmp_path / "in", first, tmp_path / "in" / "*.png")[1].count("\n") == 2
    status, out, _ = caption(tmp_path / "in", second, "--recursive")
    assert status == 0 and [line.split(": ")[0].rpartition("/")[2] for line in out.splitlines()] == [
        "1.png", "2.jpg", "3.png",
    ]  # fmt: skip


def test_skipped_files_of_a_folder_are_reported_without_an_error(caption, photo, tmp_path):
    photo("in/1.png")
    (tmp_path / "in" / "IMG_1.MOV").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(20))
    status, out, err = caption(tmp_path / "in")
    assert status == 0 and out.count("\n") == 1
    assert err.startswith("note: 1 file was skipped: ") and "IMG_1.MOV (a video: save one of its frames" in err
    assert caption(photo("in/1.png"))[2] == ""


def test_a_guess_is_marked_in_plain_output(caption, photo, tiny_bundle, tmp_path):
    trusting, doubting = tmp_path / "trusting", tmp_path / "doubting"
    save_bundle(replace(tiny_bundle, confidence=drawn_model(64, 2.0)), trusting)
    save_bundle(replace(tiny_bundle, confidence=drawn_model(64, -2.0)), doubting)
    path = photo("a.png")
    line = caption(path, bundle=trusting)[1].strip()
    assert "(a guess" not in line
    assert caption(path, bundle=doubting)[1].strip() == f"{line} (a guess)"
    several = caption(path, "--captions", 2, bundle=doubting)[1].splitlines()
    assert len(several) == 2 and all(re.search(r" \(a guess, probability [\d.e-]+\)$", line) for line in several)


def test_several_captions_are_printed_in_order_of_probability(caption, photo):
    status, out, _ = caption(photo("a.png"), "--captions", 4)  # the bundle's beam of 2 is widened
    lines = out.splitlines()
    probabilities = [float(re.search(r" \(probability (\S+)\)$", line).group(1)) for line in lines]
    assert status == 0 and len(set(lines)) == 4
    assert probabilities == sorted(probabilities, reverse=True)  # as the bundle's length penalty is 0


def test_json_holds_words_maps_and_sizes(caption, photo):
    status, out, _ = caption(photo("wide.png", 60, 20), photo("tall.png", 10, 50), "--json")
    entries = json.loads(out)
    assert status == 0 and [entry["size"] for entry in entries] == [[60, 20], [10, 50]]
    assert entries[0]["seen_box"] == [20.0, 0.0, 40.0, 20.0]
    for entry in entries:
        fields = {"image", "caption", "probability", "confidence", "wording", "words", "grid", "size", "seen_box"}
        assert set(entry) == fields | {"labels", "warnings"} and entry["confidence"] is None is entry["wording"]
        assert entry["grid"] == [5, 5] and 0 < entry["probability"] < 1
        assert entry["caption"] == " ".join(word["text"] for word in entry["words"])
        for word in entry["words"]:
            assert set(word) == {"text", "probability", "confidence", "wording", "gate", "spread", "alpha"}
            assert word["confidence"] is None is word["wording"]
            assert 0 < word["probability"] < 1 and 0 < word["gate"] < 1
            alpha = np.array(word["alpha"])
            assert alpha.shape == (5, 5) and alpha.sum() == pytest.approx(1.0, abs=1e-5)


def test_warnings_appear_on_standard_error_and_in_the_json(caption, photo, tmp_path):
    good, cut, black = photo("good.jpg", 200, 150), tmp_path / "cut.jpg", tmp_path / "black.png"
    cut.write_bytes(good.read_bytes()[:-2])
    Image.new("RGB", (40, 30)).save(black)
    status, out, err = caption(good, cut, black)
    assert status == 0 and [line.split(": ")[0] for line in out.splitlines()] == [str(good), str(cut), str(black)]
    first, second = err.splitlines()
    assert first == f"warning: {cut}: The file is cut short: its end is missing, but all of the photo is there."
    assert second.startswith(f"warning: {black}: The picture shows nothing")
    status, out, err = caption(good, cut, black, "--json")
    kinds = [[warning["kind"] for warning in entry["warnings"]] for entry in json.loads(out)]
    assert kinds == [[], ["cut_short"], ["blank"]]
    assert json.loads(out)[1]["warnings"][0]["message"] in first


def test_json_agrees_with_the_library(caption, photo, bundle):
    import captioner

    path = photo("a.png")
    (entry,) = json.loads(caption(path, "--json", "--captions", 2)[1])
    options = DecodingOptions(beam_width=2, max_words=5, length_penalty=0.0, captions_per_image=2)
    (expected,) = captioner.load(bundle, runtime="exact").captions([path], options)
    entries = [entry, *entry["alternatives"]]
    assert [item["caption"] for item in entries] == [item.text for item in expected]
    assert [item["probability"] for item in entries] == pytest.approx([item.probability for item in expected])
    assert entries[1]["words"][0]["gate"] == pytest.approx(float(expected[1].gates[0]))
    assert np.allclose(entries[1]["words"][0]["alpha"], expected[1].alphas[0], atol=1e-6)


def test_json_of_no_photos_is_an_empty_list(caption, photo, tmp_path):
    status, out, err = caption(tmp_path / "gone.png", "--json")
    assert status == 2 and json.loads(out) == [] and err.count("\n") == 1


def test_decoding_options_override_the_bundles(caption, photo):
    path = photo("a.png")
    (entry,) = json.loads(caption(path, "--json", "--max-words", 2, "--beam-width", 1)[1])
    assert len(entry["words"]) <= 2
    outputs = [caption(path, "--temperature", 2.0, "--seed", seed, "--captions", 3)[1] for seed in (1, 1, 2)]
    assert outputs[0] == outputs[1] != outputs[2]


def test_a_limited_number_of_photos_is_decoded_ahead(bundle, photo, monkeypatch):
    """Memory is constant: of forty photos, only a batch and those held by the threads are decoded at a time."""
    import captioner

    loaded, waiting, max_waiting = captioner.load(bundle, runtime="exact"), 0, 0
    lock = threading.Lock()
    prepare, caption_pixels = Captioner.prepare, Captioner.caption_pixels

    def count_prepared(self, path):
        nonlocal waiting, max_waiting
        with lock:
            waiting += 1
            max_waiting = max(max_waiting, waiting)
        return prepare(self, path)

    def count_captioned(self, pixels, frames, options):
        nonlocal waiting
        with lock:
            waiting -= len(pixels)
        return caption_pixels(self, pixels, frames, options)

    monkeypatch.setattr(Captioner, "prepare", count_prepared)
    monkeypatch.setattr(Captioner, "caption_pixels", count_captioned)
    paths = [photo("one.png")] * 40
    results = list(command.caption_files(loaded, paths, DecodingOptions(beam_width=1, max_words=2), 4))
    assert len(results) == 40 and waiting == 0
    assert 4 < max_waiting <= 8


# --- bad input


def bad_files(folder: Path, good: Path) -> dict[str, Path]:
    content = good.read_bytes()
    bomb = Image.new("1", (20000, 20000))
    files = {name: folder / f"{name}.png" for name in ("missing", "empty", "cut", "text", "bomb")}
    files["empty"].write_bytes(b"")
    files["cut"].write_bytes(content[:100])
    files["text"].write_text("hello")
    bomb.save(files["bomb"])
    return files


def test_each_unreadable_photo_is_named_in_one_sentence_and_the_others_are_captioned(caption, photo, tmp_path):
    good = [photo("good1.png"), photo("good2.png"), photo("good3.png")]
    bad = bad_files(tmp_path, good[0])
    (tmp_path / "no-photos").mkdir()
    order = [bad["missing"], good[0], bad["empty"], bad["cut"], good[1], bad["text"], bad["bomb"], good[2]]
    status, out, err = caption(tmp_path / "no-photos", *order, "--batch-size", 3)
    assert status == 2
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(path) for path in good]
    lines = err.splitlines()
    assert len(lines) == 1 + len(bad) and all(line.startswith("error: ") for line in lines)
    for name, path in [("no-photos", tmp_path / "no-photos"), *bad.items()]:
        assert sum(str(path) in line for line in lines) == 1, name


@pytest.mark.parametrize("damage", ["missing", "no words", "not json", "cut weights"])
def test_a_broken_bundle_is_reported_in_one_sentence(caption, photo, bundle, tmp_path, damage):
    broken = tmp_path / "broken"
    if damage != "missing":
        broken.mkdir()
        for file in Path(bundle).iterdir():
            (broken / file.name).write_bytes(file.read_bytes())
    if damage == "no words":
        (broken / "vocabulary.json").unlink()
    elif damage == "not json":
        (broken / "config.json").write_text("{")
    elif damage == "cut weights":
        (broken / "model.safetensors").write_bytes(b"\x10")
    status, out, err = caption(photo("a.png"), "--bundle", broken, bundle=broken)
    assert status == 2 and out == ""
    assert err.startswith(f"error: {broken}") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--beam-width", "0"], "beam_width"),
        (["--captions", "3", "--beam-width", "2"], "--captions 3 is more than --beam-width 2 can find: widen the beam"),
        (["--captions", "0"], "--captions"),
        (["--batch-size", "-1"], "--batch-size"),
        (["--top-p", "7"], "top_p"),
        (["--max-words", "many"], "--max-words"),
        (["--device", "abacus"], "device abacus"),
        (["--device", "meta"], "device meta"),
        (["--runtime", "quick"], "--runtime"),
        (["--figure", "figure.docx"], "--figure"),
        (["--figure", "folder"], "--figure"),
        (["--colour"], "--colour"),
        (["--maps", "both"], "--maps"),
    ],
)
def test_a_bad_option_is_named(caption, photo, options, named):
    status, out, err = caption(photo("a.png"), *options)
    assert status == 2 and out == ""
    assert named in err.splitlines()[-1] and "error: " in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("photos", "options", "runtime"),
    [(1, [], "exact"), (3, [], "fast"), (1, ["--runtime", "fast"], "fast"), (3, ["--runtime", "exact"], "exact")],
)
def test_the_fast_runtime_is_the_default_for_several_photos(caption, photo, monkeypatch, photos, options, runtime):
    import captioner

    runtimes, plain_load = [], captioner.load

    def load(path, device, runtime):
        runtimes.append(runtime)
        return plain_load(path, device, "exact")

    monkeypatch.setattr(captioner, "load", load)
    monkeypatch.setattr("captioner.config.MANY_PHOTOS", 3)
    assert caption(*(photo(f"{number}.png") for number in range(photos)), *options)[0] == 0
    assert runtimes == [runtime]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_caption_that_cannot_be_translated_is_reported_with_its_photo(caption, photo, monkeypatch, options):
    def refuse(captions):
        raise TextError("the text has no letter that this translator knows")

    translator = SimpleNamespace(translate_captions=refuse, bundle=SimpleNamespace(target_language="de"))
    monkeypatch.setattr("captioner.__main__.load_translator", lambda *_: translator)
    first, second = photo("a.png"), photo("b.png")
    status, out, err = caption(first, second, "--language", "de", *options)
    assert status == 2 and out.strip() == ("[]" if options else "")
    assert err.splitlines() == [
        f"error: {path}: the text has no letter that this translator knows" for path in (first, second)
    ]


def test_options_may_stand_between_photos(caption, photo):
    assert caption(photo("a.png"), "--beam-width", 1, photo("b.png"))[1].count("\n") == 2


# --- pictures


def test_a_figure_never_replaces_a_photo(caption, photo, tmp_path, monkeypatch):
    paths = [photo("a.png"), photo("b.png"), photo("f-a.png")]
    before = [path.read_bytes() for path in paths]
    (tmp_path / "link.png").symlink_to(paths[0])
    monkeypatch.setattr(command, "_load", lambda *_: pytest.fail("the photos are captioned"))
    for photos, figure, replaced in (
        (paths[:1], paths[0], "a.png"),
        (paths[:1], tmp_path / "link.png", "link.png"),
        (paths, tmp_path / "f.png", "f-a.png"),  # of several photos, each figure has its photo's name in its own
    ):
        status, out, err = caption(*photos, "--figure", figure)
        assert (status, out) == (2, "")
        assert f"{replaced} is one of the photos and would be replaced: name another file" in err
        assert [path.read_bytes() for path in paths] == before


def test_the_figure_of_one_photo_has_the_given_name(caption, photo, tmp_path):
    status, out, _ = caption(photo("a.png"), "--figure", tmp_path / "new" / "strip.png")
    assert status == 0 and out.count("\n") == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["strip.png"]
    with Image.open(tmp_path / "new" / "strip.png") as figure:
        assert figure.width > 2 * 224


def test_pictures_of_several_photos_have_distinct_names(caption, photo, tmp_path):
    names = ["dog.png", "x/dog.png", "x/Dog.jpg", "dog-2.png", "cat.png"]
    paths = [photo(name, seed=seed) for seed, name in enumerate(names)]
    status, _, _ = caption(*paths, "--figure", tmp_path / "out" / "f.png", "--overlays", tmp_path / "over")
    expected = {"dog", "dog-2", "Dog-3", "dog-2-2", "cat"}
    assert status == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"f-{name}.png" for name in expected}
    assert {path.name for path in (tmp_path / "over").iterdir()} == expected


def test_overlays_are_numbered_in_word_order_and_have_the_photos_size(caption, photo, tmp_path):
    (entry,) = json.loads(caption(photo("a.png", 50, 20), "--json", "--overlays", tmp_path / "over")[1])
    files = sorted((tmp_path / "over" / "a").iterdir())
    words = [word["text"] for word in entry["words"]]
    assert [path.name for path in files] == [f"{number:02d}-{word}.png" for number, word in enumerate(words, 1)]
    for path in files:
        with Image.open(path) as overlay:
            assert overlay.size == (50, 20)


def test_the_cells_option_draws_uniform_squares(caption, tmp_path):
    path = tmp_path / "half.png"
    photo = Image.new("RGB", (100, 100), "grey")
    photo.paste((0, 0, 200), (0, 0, 40, 100))
    photo.save(path)
    for name, options in (("smooth", []), ("cells", ["--cells"])):
        assert caption(path, "--overlays", tmp_path / name, "--figure", tmp_path / f"{name}.png", *options)[0] == 0
        first = sorted((tmp_path / name / "half").iterdir())[0]
        with Image.open(first) as overlay:
            cells = np.asarray(overlay).reshape(5, 20, 5, 20, 3)
        assert (np.ptp(cells, axis=(1, 3)).max() == 0) == (name == "cells")
    assert (tmp_path / "smooth.png").read_bytes() != (tmp_path / "cells.png").read_bytes()


def test_occlusion_maps_are_drawn_and_printed_on_request(caption, photo, bundle, tmp_path):
    import captioner

    path = photo("a.png", 50, 20)
    out, options = {}, ["--json", "--captions", 2]
    for maps in ("attention", "evidence"):
        pictures = ["--figure", tmp_path / f"{maps}.png", "--overlays", tmp_path / maps]
        status, out[maps], err = caption(path, *options, *pictures, "--maps", maps)
        assert (status, err) == (0, "")
    assert caption(path, *options)[1] == out["attention"] and '"evidence"' not in out["attention"]
    loaded = captioner.load(bundle, runtime="exact")
    decoding = replace(loaded.decoding, captions_per_image=2)
    (expected,) = loaded.captions([path], decoding)
    (entry,) = json.loads(out["evidence"])
    for printed, item in zip([entry, *entry["alternatives"]], expected, strict=True):
        evidence = [word["evidence"] for word in printed["words"]]
        np.testing.assert_allclose(evidence, loaded.occlusion_maps(path, item, decoding), atol=1e-5)
        np.testing.assert_allclose([word["alpha"] for word in printed["words"]], item.alphas, atol=1e-5)

    best, maps, opened = expected[0], loaded.occlusion_maps(path, expected[0], decoding), open_image(path)
    heading = f"{best.text}: occlusion map of each word"
    with Image.open(tmp_path / "evidence.png") as figure:
        assert mean_difference(figure, figure_strip(opened, best, maps=maps, heading=heading)) < 0.5
    for file, item in zip(sorted((tmp_path / "evidence" / "a").iterdir()), maps, strict=True):
        with Image.open(file) as picture:
            assert mean_difference(picture, overlay(opened, item, best.frame)) < 0.5
    assert (tmp_path / "evidence.png").read_bytes() != (tmp_path / "attention.png").read_bytes()


def mean_difference(first: Image.Image, second: Image.Image) -> float:
    assert first.size == second.size
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def test_occlusion_maps_use_the_captions_options_and_are_computed_only_if_shown(caption, photo, monkeypatch):
    calls = []
    compute = Captioner.occlusion_maps
    monkeypatch.setattr(Captioner, "occlusion_maps", lambda *args: calls.append(args[3]) or compute(*args))
    assert caption(photo("a.png"), "--maps", "evidence")[0] == 0 and not calls
    assert caption(photo("a.png"), "--maps", "evidence", "--json", "--hard-context", "expected")[0] == 0
    assert [options.hard_context for options in calls] == ["expected"]


def test_pictures_that_cannot_be_written_are_reported_in_one_sentence(caption, photo, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for option, target in (("--figure", tmp_path / "file" / "f.png"), ("--overlays", tmp_path / "file")):
        status, _, err = caption(photo("a.png"), option, target)
        assert status == 2 and err.startswith("error: ") and str(tmp_path / "file") in err and err.count("\n") == 1


# --- as a process


@pytest.mark.stress
def test_the_process_captions_undecodable_file_names_without_warnings(bundle, photo, tmp_path):
    """Warnings are enabled: anything that a user would see on standard error fails the test."""
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    os.rename(photo("a.png"), odd)
    running = process(os.fsdecode(odd), "--json", "--bundle", bundle, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = running.communicate(timeout=300)
    assert (running.returncode, err) == (0, b"")
    (entry,) = json.loads(out)
    assert os.fsencode(entry["image"]) == odd


def test_help_does_not_import_torch():
    code = "import sys; from captioner.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'numpy', 'PIL', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=300)


def test_help_to_a_closed_pipe_is_quiet():
    read_end, write_end = os.pipe()
    os.close(read_end)
    running = process("--help", stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert running.communicate(timeout=300)[1] == b"" and running.returncode == 141


@pytest.mark.stress
def test_ctrl_c_and_a_closed_pipe_end_the_process_quietly(bundle, photo, tmp_path):
    for number in range(300):
        os.link(photo("one.png"), tmp_path / f"{number}.jpg")
    command_line = [tmp_path, "--bundle", bundle, "--batch-size", 1, "--captions", 2]
    interrupted = process(*command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    unread = process(*command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert interrupted.stdout.read(1) and unread.stdout.read(1)
    interrupted.send_signal(signal.SIGINT)
    unread.stdout.close()
    for running, status in ((interrupted, 130), (unread, 141)):
        err = running.stderr.read()
        assert running.wait(timeout=300) == status
        assert b"Traceback" not in err and b"error" not in err.lower()
        running.stderr.close()
    interrupted.stdout.close()


@pytest.mark.parametrize(
    ("terminal", "photos", "batch_size", "shown"),
    [(True, 3, 2, True), (True, 3, 3, False), (False, 3, 2, False), (False, 5, 2, True)],
)
def test_a_progress_bar_is_shown_on_a_terminal_or_for_many_photos(
    caption, photo, monkeypatch, terminal, photos, batch_size, shown
):
    monkeypatch.setattr(command, "MANY_PHOTOS", 5)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    paths = [photo(f"{number}.png") for number in range(photos)]
    status, out, err = caption(*paths, "--batch-size", batch_size)
    assert (status, out.count("\n")) == (0, photos)
    assert (f"{photos}/{photos}" in err) == shown and bool(err) == shown
