"""Contestants that caption photos in this process."""

from collections.abc import Sequence

from benchmarks.timing import Contestant
from captioner.captioner import Captioner
from captioner.config import DecodingOptions


def caption_each(captioner: Captioner, photos: Sequence[bytes], options: DecodingOptions) -> Contestant:
    """Return a contestant that captions all photos, one at a time."""
    return lambda _: [captioner.caption([photo], options) for photo in photos]
