"""Views of a binary stream for decoders to read from."""

import io
import time
from typing import BinaryIO

from captioner.errors import ImageError


class StreamView(io.RawIOBase):
    """Seekable, readable view of a stream. Subclasses define `read`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class TimedStream(StreamView):
    """Stream that raises ImageError when it is read after a time limit.

    Decoders in C cannot be interrupted, but most read a file in small pieces. This stops, for example, a JPEG with a
    thousand passes over a large picture, which would take minutes to decode.
    """

    def __init__(self, stream: BinaryIO, seconds: float, name: str) -> None:
        super().__init__(stream)
        self._seconds, self._name = seconds, name
        self._end = time.monotonic() + seconds

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._end:
            raise ImageError(
                f"{self._name} takes more than {self._seconds:.1f} seconds to decode: save it again as a plain JPEG"
            )
        return self._stream.read(size)
