"""An exported captioner writes the same captions as the library, without torch."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioner import __main__ as command
from captioner.bundle.bundle import load_bundle, save_bundle
from captioner.captioner import Captioner
from captioner.onnx_export.export import FILES, export_onnx

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.jpg"))


def exported(bundle, folder: Path):
    """Export a bundle and load the example that is written beside it."""
    export_onnx(bundle, folder)
    spec = importlib.util.spec_from_file_location("exported_caption", folder / "caption.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example.Captioner(folder)


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    paths = []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (3, 4 + number % 2, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).resize((90, 64 + 10 * number)).save(paths[-1])
    return paths


def assert_same_captions(bundle, photos, folder: Path) -> set[str]:
    ours, theirs = Captioner(bundle, "cpu"), exported(bundle, folder)
    texts = set()
    for width in (1, bundle.decoding.beam_width):
        expected = [caption.text for caption in ours.caption(photos, replace(bundle.decoding, beam_width=width))]
        assert [theirs.caption(photo, width) for photo in photos] == expected
        texts |= set(expected)
    return texts


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block_repeats": 0, "length_penalty": 0.0},
        {"block_repeats": 1},
        {"repeat_nouns": False, "block_repeats": 2},
    ],
)
def test_captions_equal_those_of_the_library(make_bundle, photos, tmp_path, options):
    texts = set()
    for seed in range(4):
        bundle = make_bundle(seed)
        bundle = replace(bundle, decoding=replace(bundle.decoding, **options))
        texts |= assert_same_captions(bundle, photos[:2], tmp_path / str(seed))
    assert len(texts) > 2


def test_a_captioner_with_labels_is_exported(labelled_bundle, photos, tmp_path):
    assert_same_captions(labelled_bundle, photos, tmp_path / "onnx")


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_photos_are_fitted_as_by_the_library(make_bundle, tiny_config, photos, tmp_path, fit):
    bundle = make_bundle()
    bundle.model.config = replace(tiny_config, fit=fit)
    ours, theirs = Captioner(bundle, "cpu"), exported(bundle, tmp_path / "onnx")
    for photo in photos:
        difference = ours.prepare(photo)[0].astype(int) - theirs.square(photo)
        assert abs(difference).max() <= {"squash": 1, "crop": 0, "pad": 255}[fit] and abs(difference).mean() < 2


def test_the_command_replaces_an_earlier_export_alone(tiny_bundle, photos, tmp_path, capsys):
    save_bundle(tiny_bundle, tmp_path / "bundle")
    arguments = ["export", "--onnx", str(tmp_path / "onnx"), "--bundle", str(tmp_path / "bundle")]
    for _ in range(2):
        assert command.main(arguments) == 0
        assert {path.name for path in (tmp_path / "onnx").iterdir()} == set(FILES)
    assert "caption.py photo.jpg" in capsys.readouterr().err
    assert json.loads((tmp_path / "onnx" / "captioner.json").read_text())["words"][:2] == ["<pad>", "<start>"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert command.main(["export", "--onnx", str(tmp_path / "mine"), "--bundle", str(tmp_path / "bundle")]) == 2
    assert "holds something other than a captioner in ONNX" in capsys.readouterr().err
    (tmp_path / "onnx" / "photo.jpg").write_text("captioned here")
    assert command.main(arguments) == 2 and (tmp_path / "onnx" / "photo.jpg").exists()
    assert "holds something other than a captioner in ONNX" in capsys.readouterr().err


WITHOUT_TORCH = """
import runpy, sys
sys.modules.update(dict.fromkeys(["torch", "captioner", "openvino"]))  # an import of these fails from here on
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_example_needs_neither_torch_nor_this_package(tiny_bundle, photos, tmp_path):
    export_onnx(tiny_bundle, tmp_path / "onnx")
    arguments = str(tmp_path / "onnx" / "caption.py"), str(photos[0]), "--beam-width", "1"
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    (caption,) = Captioner(tiny_bundle, "cpu").caption([photos[0]], replace(tiny_bundle.decoding, beam_width=1))
    assert run.stdout == f"{photos[0]}: {caption.text}\n", run.stderr


@pytest.mark.stress
def test_the_captioner_that_ships_writes_the_same_captions_of_the_examples(tmp_path):
    assert len(EXAMPLES) >= 5
    assert_same_captions(load_bundle(), EXAMPLES, tmp_path / "onnx")
