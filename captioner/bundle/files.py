"""Files of a bundle, whatever it holds: JSON, 16-bit tensors, and checks of what is read."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captioner.errors import BundleError, ConfigError
from captioner.files import atomic_folder


def json_bytes(value: Any) -> bytes:
    """Return a value as the content of a JSON file."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def check_replaceable(
    folder: Path, kind: str, files: Collection[str], optional: Collection[str], with_others: bool = True
) -> None:
    """Raise BundleError if a folder exists and holds something other than a bundle of this kind.

    files: names of the files that every such bundle has. optional: names of those that it may have.
    with_others: whether a whole bundle is also replaced if there are other files beside it, which are lost. A training
    must not end for such a file.
    """
    if not folder.exists():
        return
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {""}
    if not (names <= {*files, *optional} or (with_others and names >= set(files))):
        raise BundleError(f"{folder} holds something other than a {kind}, which would be lost: name another folder")


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files, by name, into a folder: atomically, in place of an earlier one."""
    with atomic_folder(folder) as new:
        for name, content in contents.items():
            (new / name).write_bytes(content)


def read_text(path: Path) -> str:
    """Read a text file; "" if it is missing."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def to_16_bits(name: str, tensor: Tensor) -> Tensor:
    """Convert a tensor to 16 bits; one with numbers that 16 bits cannot hold stays unchanged.

    Raises BundleError if a number is not finite.
    """
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not bool(tensor.isfinite().all()):
        raise BundleError(f"{name} holds numbers that are not finite, so no bundle was written: train it again")
    half = tensor.to(torch.float16)
    return half if bool(half.isfinite().all()) else tensor


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises BundleError if it is damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} is damaged ({error}): copy it again from its source") from error


_FILLERS = {
    nn.init.uniform_,
    nn.init.normal_,
    nn.init.kaiming_uniform_,
    torch.Tensor.uniform_,
    torch.Tensor.normal_,
}
"""Functions that fill a tensor with random numbers, and return it."""


class WithoutInitialisation(TorchFunctionMode):
    """Context that leaves out random initial weights, for models whose weights are read from files.

    They would take a tenth of a second for the captioner that ships, and the matrix library would keep 18 MB that it
    used for them. On the meta device, whose tensors have no values, some make torch import its compiler, which takes
    longer than the import of torch.
    """

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        if function in _FILLERS:
            return options["tensor"] if "tensor" in options else arguments[0]
        if function is torch.linalg.qr:  # of `nn.init.orthogonal_`
            return arguments[0], arguments[0]
        if function is torch.eye and "out" in options:
            return options["out"]
        return function(*arguments, **options)


def expected_tensors(make_model: Callable[[], nn.Module], config: Path) -> dict[str, Tensor]:
    """Return the tensors of a model on the meta device: shapes without values.

    The sizes in a damaged config may exceed any memory, so check them before anything is allocated.
    Raises BundleError, which names the config file.
    """
    try:
        with torch.device("meta"), WithoutInitialisation():
            return make_model().state_dict()
    except ConfigError as error:
        raise BundleError(f"{config}: {error}") from error
    except (RuntimeError, OverflowError, TypeError) as error:  # torch's errors for sizes out of its range
        raise BundleError(f"{config} has sizes that no model can have: copy it again from its source") from error


def check_tensors(
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    path: Path,
    sources: str,
    in_package: Collection[str] = (),
    hints: Mapping[str, str] | None = None,
) -> None:
    """Raise BundleError if tensors are missing, unknown, of another shape or not finite.

    path: their file. sources: names of the files that say their shapes. in_package: names of the tensors that may be
    missing because a package has them. hints: name of a tensor -> what its size depends on.
    """
    for name in sorted(expected.keys() ^ tensors.keys()):
        if name in expected and name in in_package:
            continue
        problem = "lacks" if name in expected else "holds the unknown tensor"
        raise BundleError(f"{path} {problem} {name}: it does not belong to the config.json beside it")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            hint = f" ({hints[name]})" if hints and name in hints else ""
            raise BundleError(
                f"{path}: {name} has shape {list(tensor.shape)}, and {sources} make it"
                f" {list(expected[name].shape)}{hint}: files of two bundles were mixed"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise BundleError(f"{path}: {name} holds numbers that are not finite: train it again")
