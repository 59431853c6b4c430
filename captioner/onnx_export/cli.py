"""`python -m captioner export --onnx DIR`: a captioner for machines without torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from captioner.errors import CaptionerError

BAD_INPUT = 2
"""Exit status of an error that a user can fix."""


def export(arguments: Sequence[str]) -> int:
    """Export the captioner that the arguments name; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m captioner export", description="Write a captioner for machines without torch."
    )
    parser.add_argument(
        "--onnx", required=True, type=Path, metavar="DIR",
        help="folder for two ONNX networks, the words and options, and an example that needs onnxruntime, numpy and"
        " Pillow",
    )  # fmt: skip
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="the captioner's folder. Default: the one that ships"
    )
    options = parser.parse_args(arguments)
    from captioner.bundle.bundle import load_bundle
    from captioner.onnx_export.export import export_onnx

    try:
        export_onnx(load_bundle(options.bundle), options.onnx)
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"error: {options.onnx} cannot be written ({error.strerror or error}): name another", file=sys.stderr)
        return BAD_INPUT
    print(f"{options.onnx}: try python {options.onnx / 'caption.py'} photo.jpg", file=sys.stderr)
    return 0
