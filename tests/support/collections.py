"""Collections for tests, without a captioner."""

import io
from collections.abc import Mapping

from service.store.collections import Collection, Collections

MANY_BYTES = 1_000_000_000


def make_collection(collections: Collections, files: Mapping[str, bytes], name: str = "holiday") -> Collection:
    """Create a collection of files: name -> content."""
    with collections.intake(MANY_BYTES) as intake:
        for file_name, content in files.items():
            intake.add(file_name, io.BytesIO(content))
        return collections.create(name, intake)
