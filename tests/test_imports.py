"""Who imports whom, and that importing does no work."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from captioner.config import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "captioner": {"training", "service", "benchmarks", "tests"},
    "training": {"service", "benchmarks", "tests"},
    "service": {"training", "benchmarks", "tests"},
    "benchmarks": {"tests"},
}
# Downward only: a module may import those before it.
ORDER = (
    "allocator", "errors", "extras", "counting", "json_files", "config", "arguments", "vocabulary", "lexicon",
    "label_names", "confidence", "bundle_json", "file_types",
    "jpeg_xl", "streams", "cut_images", "extra_formats", "filled_images", "text_pages", "photo_warnings", "images",
    "photo_process", "name_set", "image_files", "ranks", "journal", "remote_photos", "photo_sources", "photo_workers",
    "copy_checks", "photo_copies", "caption_files",
    "encoder_weights", "encoders", "draws", "fused", "products", "attention", "dropout", "label_memory", "decoder",
    "model", "inference", "decoding", "photo_labels", "evidence", "bundle", "captioner", "overlays", "figures",
    "caption_json", "bulk", "bulk_command", "__main__",
)  # fmt: skip


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, with the names taken from it: `a.b` and `a.b.c`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, which hides from whom"
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_one_that_it_must_not_know(package):
    for path in (ROOT / package).rglob("*.py"):
        roots = {name.split(".")[0] for name in imports_of(path)}
        assert not roots & FORBIDDEN[package], path


@pytest.mark.parametrize("room", ["store", "inference", "jobs", "http"])
def test_what_lies_below_the_api_does_not_import_it(room):
    for path in (ROOT / "service" / room).rglob("*.py"):
        assert not any(name.startswith("service.api") for name in imports_of(path)), path


def test_modules_of_the_captioner_import_downward_only():
    for path in (ROOT / "captioner").glob("*.py"):
        if path.stem == "__init__":
            continue
        assert path.stem in ORDER, f"{path.stem} has no place in the order yet"
        imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("captioner.")}
        above = {name for name in imported & set(ORDER) if ORDER.index(name) >= ORDER.index(path.stem)}
        assert not above, f"{path.name} imports {above}"


SILENT_IMPORT = """
import importlib, logging, pkgutil, random, signal, socket, sys, threading, urllib.request
def no(*_, **__): raise AssertionError("an import did work")
socket.socket.connect = socket.create_connection = urllib.request.urlopen = no
import numpy, torch, torchvision, timm, matplotlib
torch.hub.load_state_dict_from_url = timm.create_model = torch.set_num_threads = torch.manual_seed = no
torch.cuda.is_available = torch.nn.Module.__init__ = no
handlers, signals = list(logging.root.handlers), signal.getsignal(signal.SIGTERM)
threads, state = threading.active_count(), torch.get_rng_state()
package = importlib.import_module(sys.argv[1])
found = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
assert found, "no module was found"
for name in found:
    importlib.import_module(name)
assert logging.root.handlers == handlers and signal.getsignal(signal.SIGTERM) is signals
assert threading.active_count() == threads and torch.equal(torch.get_rng_state(), state)
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("package", ["captioner", "service"])
def test_importing_does_no_work(package):
    """No download, no network, no model, no device asked for, no seed, no log, no thread, no signal handler."""
    ended = run(SILENT_IMPORT, package)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "" and ended.stderr == ""


def test_importing_the_library_does_not_wait_for_torch():
    assert run("import captioner, sys; assert 'torch' not in sys.modules").returncode == 0


def test_only_building_an_encoder_imports_torchvision_and_timm():
    ended = run("import captioner.captioner, sys; assert not {'torchvision', 'timm'} & set(sys.modules)")
    assert ended.returncode == 0, ended.stderr


def test_a_worker_and_drawing_do_not_import_torch():
    ended = run(
        "import captioner.figures, captioner.caption_json, service.worker, sys; assert 'torch' not in sys.modules"
    )
    assert ended.returncode == 0, ended.stderr


WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(["torch", "torchvision", "timm"]))  # an import of these fails from here on
from training.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "--json", "--samples", "OUT", "--bundle", str(DEFAULT_BUNDLE)],
        ["fit", "--check", "--output", "OUT", "--labels", "8", "--sentences", "TEXT"],
        ["fit", "--check", "--output", "OUT", "--from-bundle", str(DEFAULT_BUNDLE), "--preset", "quick"],
    ],
    ids=["inspect", "fit --check", "fit --check --from-bundle"],
)
def test_inspecting_data_and_checking_options_run_without_torch(command, tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8), (90 * number, 0, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("a plain square\n")
    places = {"OUT": str(tmp_path / "out"), "TEXT": str(tmp_path / "0.txt")}
    words = [places.get(word, word) for word in command]
    ended = run(WITHOUT_TORCH, *words, "--data", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)
