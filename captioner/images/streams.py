"""Views of a binary stream that decoders read instead of the stream itself."""

import io
import time
from typing import BinaryIO

from captioner.errors import ImageError


class StreamView(io.RawIOBase):
    """A seekable, readable view of a stream. Subclasses define `read`."""

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
    """A stream that raises ImageError when it is read after a time limit.

    Decoders in C cannot be stopped, but most read a file in small pieces: a JPEG with a thousand passes over a large
    picture, which would take minutes to decode, ends here.
    """

    def __init__(self, stream: BinaryIO, seconds: float, name: str) -> None:
        super().__init__(stream)
        self._seconds, self._name = seconds, name
        self._end = time.monotonic() + seconds

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._end:
            raise ImageError(
                f"{self._name} takes more than {self._seconds:.1f} seconds to decode: save it anew as a plain JPEG"
            )
        return self._stream.read(size)
