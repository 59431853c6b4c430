"""OpenVINO without its telemetry, and its only core."""

import functools
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openvino import Core


def import_openvino() -> ModuleType:
    """Import OpenVINO without its package for telemetry."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


@functools.cache
def openvino_core() -> "Core":
    """Return the only core of this process, which is never destroyed.

    A core sets an alternate stack for the process's signal handlers and frees it when it is destroyed. With several
    cores, the process can be left with a freed stack, and the next signal kills it.
    """
    return import_openvino().Core()
