"""Packages import each other only as allowed, and importing does no work."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from importlinter import cli  # noqa: F401  it configures what follows
from importlinter.application import use_cases
from PIL import Image

from captioner.config import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[1]
CONTRACTS = ROOT / "pyproject.toml"


def test_imports_keep_the_contracts_of_pyproject(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    is_kept = use_cases.lint_imports(str(CONTRACTS), cache_dir=None, no_logo=True)
    assert is_kept, capsys.readouterr().out


def test_every_package_is_under_contract():
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == set(tomllib.loads(CONTRACTS.read_text())["tool"]["importlinter"]["root_packages"])


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
    """No download, network access, model, device query, seed, log handler, thread or signal handler."""
    result = run(SILENT_IMPORT, package)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "" and result.stderr == ""


def test_importing_the_library_does_not_import_torch():
    assert run("import captioner, sys; assert 'torch' not in sys.modules").returncode == 0


WITHOUT_ENCODERS = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(["torchvision", "timm"]))  # an import of these fails from here on
import captioner
for module in pkgutil.walk_packages(captioner.__path__, "captioner."):
    importlib.import_module(module.name)
"""


def test_only_building_an_encoder_imports_torchvision_and_timm():
    result = run(WITHOUT_ENCODERS)
    assert result.returncode == 0, result.stderr


CAPTION_WITHOUT_OTHER_PACKAGES = """
import sys
import torch
compiler = {"torch._dynamo", "torch._inductor", "sympy"} - sys.modules.keys()  # unless torch itself imports them
sys.modules.update(dict.fromkeys(["torchvision", "timm", "matplotlib", "scipy", "pandas"]))  # cannot be imported
from captioner.__main__ import main
assert main(sys.argv[1:]) == 0
assert not compiler & sys.modules.keys(), compiler & sys.modules.keys()
"""


@pytest.mark.parametrize("runtime", ["exact", "fast"])
def test_the_captioner_that_ships_imports_neither_its_encoders_package_nor_torchs_compiler(runtime):
    result = run(CAPTION_WITHOUT_OTHER_PACKAGES, "examples/cat.jpg", "--runtime", runtime, "--device", "cpu")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("examples/cat.jpg: ")


def test_a_worker_and_drawing_do_not_import_torch():
    result = run(
        "import captioner.figures, captioner.caption_json, service.jobs.worker, sys; assert 'torch' not in sys.modules"
    )
    assert result.returncode == 0, result.stderr


def test_a_service_without_redis_and_trainings_imports_neither_redis_nor_its_queue():
    result = run(
        "import service.app, sys; from pathlib import Path; from service.settings import Settings;"
        "from service.jobs.queue import TrainingQueue; TrainingQueue(Settings(home=Path('none')));"
        "assert not {'huey', 'redis', 'psycopg'} & sys.modules.keys()"
    )
    assert result.returncode == 0, result.stderr


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
    paths = {"OUT": str(tmp_path / "out"), "TEXT": str(tmp_path / "0.txt")}
    words = [paths.get(word, word) for word in command]
    result = run(WITHOUT_TORCH, *words, "--data", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
