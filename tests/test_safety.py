"""Untrusted input is never run: no pickle, no eval, no shell; files that hold code are refused."""

import ast
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("captioner", "training", "service") for path in (ROOT / package).rglob("*.py"))

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "jsonpickle", "yaml"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.hub.load",
    "torch.jit.load",
}
NEEDED = {
    "torch.load": ("weights_only", True),
    "torch.hub.load_state_dict_from_url": ("weights_only", True),
}
"""Call -> the argument without which it would run what it reads."""


def name_of(node: ast.expr) -> str:
    """Return a dotted name such as torch.hub.load, or an empty text for any other expression."""
    if isinstance(node, ast.Attribute):
        return f"{prefix}.{node.attr}" if (prefix := name_of(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> list[str]:
    """Return the calls and imports of a source that could run untrusted input."""
    findings = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            findings += [f"imports {module}" for module in modules if module.split(".")[0] in MODULES]
        if isinstance(node, ast.Call):
            name, keywords = name_of(node.func), {word.arg: word.value for word in node.keywords}
            value = {key: word.value for key, word in keywords.items() if isinstance(word, ast.Constant)}
            if name in CALLS:
                findings.append(f"calls {name}")
            if name in NEEDED and value.get(NEEDED[name][0]) is not NEEDED[name][1]:
                findings.append(f"calls {name} without {NEEDED[name][0]}")
            if "shell" in keywords and value.get("shell", True):
                findings.append(f"calls {name} with a shell")
            if value.get("allow_pickle"):
                findings.append(f"calls {name} with allow_pickle")
            if value.get("trust_remote_code"):
                findings.append(f"calls {name} with trust_remote_code")
    return findings


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_can_run_its_input(path):
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from yaml import load", "eval(x)", "torch.load(path)", "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)", "subprocess.run(c, shell=True)", "numpy.load(p, allow_pickle=True)",
        "subprocess.run(c, shell=flag)", "import os; os.system('x')", "timm.create_model(n, trust_remote_code=True)",
    ],
)  # fmt: skip
def test_each_danger_is_detected(source):
    assert dangers(source)
    assert not dangers("torch.load(path, weights_only=True); model.eval(); re.compile(x); run(c, shell=False)")


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def trap(tmp_path):
    """Pickles by kind that would create a file if they were run; fails if the file exists at the end."""
    mark = tmp_path / "ran"
    pickled = pickle.dumps(Touch(mark))
    zipped, legacy = tmp_path / "zipped", tmp_path / "legacy"
    torch.save({"random": Touch(mark)}, zipped)
    torch.save({"random": Touch(mark)}, legacy, _use_new_zipfile_serialization=False)
    yield {"plain": pickled, "zipped": zipped.read_bytes(), "legacy": legacy.read_bytes()}
    assert not mark.exists(), "a pickle was run"
    pickle.loads(pickled)
    assert mark.exists(), "the trap does not work"


@pytest.mark.parametrize("kind", ["plain", "zipped", "legacy"])
def test_a_pickle_is_refused_in_every_file(trap, kind, tiny_bundle, tmp_path):
    from captioner.bundle.bundle import FILES, load_bundle, save_bundle
    from captioner.errors import BundleError, DataError, WeightsError
    from captioner.model.weights import read_tensors
    from training.runs.checkpoint import load_checkpoint

    for name in FILES:
        save_bundle(tiny_bundle, tmp_path / name / "bundle")
        (tmp_path / name / "bundle" / name).write_bytes(trap[kind])
        with pytest.raises(BundleError):
            load_bundle(tmp_path / name / "bundle")
    (tmp_path / "checkpoint.pt").write_bytes(trap[kind])
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).write_bytes(trap[kind])
        with pytest.raises(WeightsError):
            read_tensors(tmp_path / name)


def test_other_files_in_a_bundles_folder_are_ignored(trap, tiny_bundle, tmp_path):
    from captioner.bundle.bundle import load_bundle, save_bundle

    save_bundle(tiny_bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "pytorch_model.bin").write_bytes(trap["plain"])
    (tmp_path / "bundle" / "sitecustomize.py").write_text("raise SystemExit('ran')")
    assert load_bundle(tmp_path / "bundle").vocabulary.words == tiny_bundle.vocabulary.words


def test_the_shipped_bundle_holds_no_code():
    for path in (ROOT / "captioner" / "bundles").rglob("*"):
        assert path.is_dir() or path.suffix in (".json", ".safetensors", ".md"), path
        assert path.is_dir() or not zipfile.is_zipfile(path), path
