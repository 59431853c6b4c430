"""Process that decodes one photo for `decode_apart`: `python -m captioner.images.process MAX_PIXELS`.

It reads the file from standard input, and writes a line of JSON and then the pixels to standard output.
"""

import contextlib
import json
import sys

from captioner.images.extra_formats import answer_of
from captioner.images.photo import open_image

_BASE_BYTES = 2 << 30
_PIXEL_BYTES = 24
"""Bytes of address space for each allowed pixel, besides the libraries. Decoders take less than half of it."""


def main(max_pixels: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # there is no such limit on Windows
        import resource

        limit = _BASE_BYTES + _PIXEL_BYTES * max_pixels
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answer, pixels = answer_of(sys.stdin.buffer.read(), max_pixels, open_image)
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + pixels)


if __name__ == "__main__":
    main(int(sys.argv[1]))
