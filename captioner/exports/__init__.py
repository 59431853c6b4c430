"""Captions of photos in the formats of other tools, as streams: sidecars, tables, data sets, pages, copies.

`write_export` writes an iterator of `ExportRecord`s in one of `EXPORT_FORMATS` into a binary file, and `export_chunks`
yields the same bytes. `export_file` says the name and media type of that file.
"""

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
