"""Cache of converted OpenVINO networks on disk: only the first start with a captioner traces and converts its networks.

An entry is a folder with one network, its weights and their hashes. Its name is a hash of everything that decides about
the network: the tensors and options of the modules, the code of this package, and the versions of the packages that
built and convert them. An entry holds nothing that depends on the processor. It is written atomically and never
changed, so processes can share the folder. A damaged entry is made again, and a folder that cannot be used costs only
the time.
"""

import hashlib
import json
import logging
import mmap
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from captioner.files import atomic_folder
from captioner.model.openvino_core import import_openvino, openvino_core

if TYPE_CHECKING:
    from openvino import Model

log = logging.getLogger(__name__)

VARIABLE = "CAPTIONER_CACHE"
"""Environment variable with the folder of the cache, or OFF."""
OFF = "off"
MAX_BYTES = 500_000_000
"""Size of the folder beyond which the entries that were not used for the longest time are removed."""
_LEFT_BEHIND_SECONDS = 3600
"""Age from which a temporary folder belongs to a killed process."""
_NETWORK, _WEIGHTS, _HASHES = "network.xml", "network.bin", "sha256.json"
_ENTRY = re.compile(r"[0-9a-f]{64}-\w+")
_TEMPORARY = re.compile(rf"\.{_ENTRY.pattern}-[0-9a-f]{{32}}\.part")
"""Names of entries, and of those that `atomic_folder` was writing."""


def cache_folder(folder: Path | str | None = None) -> Path | None:
    """Return the folder of the cache; None if it is off.

    folder: the folder, or "off". None: that of the environment variable CAPTIONER_CACHE, by default the folder
    `captioner` in the user's cache folder.
    """
    chosen = str(folder or os.environ.get(VARIABLE, "").strip())
    if chosen.lower() == OFF:
        return None
    try:
        if chosen:
            return Path(chosen).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "captioner"
    except RuntimeError:  # the user has no home folder
        return None


@dataclass(frozen=True)
class ConvertedNetwork:
    """OpenVINO network that is not compiled yet."""

    model: "Model"
    weights: mmap.mmap | None = None
    """Mapping of the file with its weights, which must outlive the compiled network; None if they are in memory."""

    def with_input(self, shape: Sequence[int]) -> "ConvertedNetwork":
        """Return a copy for an input of one shape, with the same weights."""
        model = self.model.clone()
        model.reshape(list(shape))
        return ConvertedNetwork(model, self.weights)

    def release(self) -> None:
        """Take the file's pages out of the process's memory, once the network is compiled.

        A compiled network has its own copy of nearly all weights; the kernel reads the pages of others again.
        """
        if self.weights is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self.weights.madvise(mmap.MADV_DONTNEED)


class NetworkCache:
    """Cache of the converted networks of one captioner."""

    def __init__(self, folder: Path | None, modules: Mapping[str, nn.Module], **details: Any):
        """folder: from `cache_folder`; None converts every time. modules: from which the networks are converted.
        details: anything else that decides about a network.
        """
        self._folder = folder
        self._key = folder and _fingerprint(modules, details)

    def get(self, name: str, convert: "Callable[[], Model]") -> ConvertedNetwork:
        """Return a network by its name, converted only if the cache does not have it.

        A converted network is read back, so that the first captioner computes the same bits as later ones: OpenVINO may
        round a network in memory differently from the same one in a file.
        """
        if self._folder is None:
            return ConvertedNetwork(convert())
        entry = self._folder / f"{self._key}-{name}"
        network = _read(entry)
        if network is None:
            model = convert()
            _write(entry, model)
            network = _read(entry) or ConvertedNetwork(model)
        return network


def _read(entry: Path) -> ConvertedNetwork | None:
    """Return the network of an entry, with the weights mapped from its file; None if there is none or it is damaged."""
    if not entry.is_dir():
        return None
    try:
        xml = (entry / _NETWORK).read_bytes()
        with open(entry / _WEIGHTS, "rb") as file:
            weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # numpy and OpenVINO want writable memory
        if json.loads((entry / _HASHES).read_bytes()) != [_sha256(xml), _sha256(weights)]:
            raise ValueError("its hash differs")
        tensor = import_openvino().Tensor(np.frombuffer(weights, np.uint8), shared_memory=True)
        network = ConvertedNetwork(openvino_core().read_model(xml.decode(), tensor), weights)
        with suppress(OSError):
            os.utime(entry)
        return network
    except (OSError, ValueError, RuntimeError) as error:
        log.warning("A prepared network is damaged and is made again: %s (%s)", entry, error)
        shutil.rmtree(entry, ignore_errors=True)
        return None


def _write(entry: Path, model: "Model") -> None:
    """Write an entry; leave it out if the folder cannot be written to."""
    if entry.exists():  # by another process
        return
    try:
        with atomic_folder(entry) as folder:
            import_openvino().save_model(model, folder / _NETWORK, compress_to_fp16=False)
            hashes = [_sha256((folder / name).read_bytes()) for name in (_NETWORK, _WEIGHTS)]
            (folder / _HASHES).write_text(json.dumps(hashes))
        _trim(entry)
    except (OSError, RuntimeError) as error:
        log.info("The prepared network was not kept in %s: %s", entry.parent, error)


def _sha256(content: bytes | mmap.mmap) -> str:
    return hashlib.sha256(content).hexdigest()


def _trim(newest: Path) -> None:
    """Remove the entries that were not used for the longest time until they are small enough; keep the newest.

    The folder may be one that holds other things as well, such as `~/.cache`: these stay.
    """
    entries = []
    for folder in newest.parent.iterdir():
        with suppress(OSError):  # another process removes entries as well
            age = time.time() - folder.stat().st_mtime
            if _ENTRY.fullmatch(folder.name):
                entries.append((age, folder, sum(file.stat().st_size for file in folder.iterdir())))
            elif _TEMPORARY.fullmatch(folder.name) and age > _LEFT_BEHIND_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
    total = 0
    for _, folder, size in sorted(entries):
        total += size
        if total > MAX_BYTES and folder != newest:
            shutil.rmtree(folder, ignore_errors=True)


def _fingerprint(modules: Mapping[str, nn.Module], details: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides about converted networks."""
    digest = hashlib.sha256(json.dumps(details, sort_keys=True).encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    packages = {"torch", import_openvino().__name__}
    for name, module in modules.items():
        for part_name, part in module.named_modules(prefix=name):
            packages.add(type(part).__module__.partition(".")[0])
            digest.update(f"{part_name} {type(part).__qualname__} {_options_of(part)}".encode())
        for tensor_name, tensor in (*module.named_parameters(name), *module.named_buffers(name)):
            digest.update(f"{tensor_name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    versions = [(package, getattr(sys.modules[package], "__version__", None)) for package in sorted(packages)]
    digest.update(json.dumps(versions).encode())
    return digest.hexdigest()


def _options_of(value: Any) -> list[tuple[str, Any]]:
    """Return the plain attributes of a module or of a dataclass."""
    options = []
    for name, option in sorted(vars(value).items()):
        if isinstance(option, str | int | float | bool | tuple | None):
            options.append((name, option))
        elif is_dataclass(option):
            options.append((name, _options_of(option)))
    return options
