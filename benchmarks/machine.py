"""Description of the machine that results were measured on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:  # the benchmark of the service runs without torch
    import torch

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """Properties that affect the speed of a program."""

    cpu: str
    """Its model name."""
    cores: int
    memory_gib: float
    architecture: str
    python: str
    torch: str
    threads: int
    """Number of torch's threads, for every contestant."""
    cpu_bf16: tuple[str, ...]
    """Instructions for 16-bit floats; empty if these are computed as 32-bit ones."""
    device: str
    """The device of all measurements."""
    gpu: str | None
    """Its name if the device is a GPU."""
    gpu_bf16: bool


def machine() -> str:
    """Describe the machine in one line, without torch."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


def describe(device: "torch.device") -> Machine:
    """Describe the machine and torch's use of it."""
    import torch

    info, on_gpu = cpu_info(), device.type == "cuda"
    return Machine(
        cpu=info.get("model name") or platform.processor() or "unknown",
        cores=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        architecture=platform.machine(),
        python=platform.python_version(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        cpu_bf16=tuple(word for word in info.get("flags", info.get("Features", "")).split() if "bf16" in word),
        device=str(device),
        gpu=torch.cuda.get_device_name(device) if on_gpu else None,
        gpu_bf16=on_gpu and torch.cuda.is_bf16_supported(),
    )


def cpu_info(path: Path = CPU_INFO) -> dict[str, str]:
    """Return the kernel's description of the first core, empty if there is none."""
    if not path.is_file():
        return {}
    first = path.read_text(errors="replace").split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def report(details: Machine) -> str:
    """Describe the machine in two lines."""
    instructions = ", ".join(details.cpu_bf16) or "no instructions"
    lines = [
        f"{details.cpu}, {details.cores} cores, {details.memory_gib:.0f} GiB, {details.architecture};"
        f" bf16: {instructions}.",
        f"Python {details.python}, torch {details.torch} with {details.threads} threads, on {details.device}"
        + (f": {details.gpu}, bf16: {'yes' if details.gpu_bf16 else 'no'}." if details.gpu else "."),
    ]
    return "\n".join(lines)
