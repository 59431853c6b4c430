"""Captions of photos in the formats of other tools, as streams: sidecars, tables, data sets, pages, copies.

`write_export` writes an iterator of `ExportRecord`s in one of `EXPORT_FORMATS` into a binary file, and `export_chunks`
yields the same bytes. `export_file` says the name and media type of that file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioner.exports.formats import (
        EXPORT_FORMATS,
        ExportFile,
        ExportFormat,
        ExportOptions,
        export_chunks,
        export_file,
        export_format,
        write_export,
    )
    from captioner.exports.records import ExportRecord

__all__ = [
    "EXPORT_FORMATS",
    "ExportFile",
    "ExportFormat",
    "ExportOptions",
    "ExportRecord",
    "export_chunks",
    "export_file",
    "export_format",
    "write_export",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line reads modules of this room before any package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "records" if name == "ExportRecord" else "formats"
    return getattr(import_module(f"{__name__}.{module}"), name)
