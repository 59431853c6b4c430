"""Arrays: move maps and numbers of each word from JSON lists of a caption to bytes in a column.

Values that cannot be converted stay in the document unchanged.
"""

import logging
import zlib
from typing import Any

import numpy as np
import safetensors.numpy
import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BATCH = 100
"""Rows in memory at once: a row with many captions and large maps takes megabytes."""
_DIMENSIONS = {"alphas": 3, "gates": 1, "word_log_probs": 1, "label_maps": 3}

log = logging.getLogger(__name__)


def upgrade() -> None:
    op.add_column("captions", sa.Column("arrays", sa.LargeBinary(), nullable=True))
    connection = op.get_bind()
    captions = sa.table(
        "captions",
        sa.column("sequence", sa.Integer),
        sa.column("document", sa.JSON),
        sa.column("arrays", sa.LargeBinary),
    )
    rows = sa.select(captions.c.sequence, captions.c.document).order_by(captions.c.sequence).limit(BATCH)
    statement = (
        sa.update(captions)
        .where(captions.c.sequence == sa.bindparam("of"))
        .values(document=sa.bindparam("new_document"), arrays=sa.bindparam("new_arrays"))
    )
    last = 0
    while batch := connection.execute(rows.where(captions.c.sequence > last)).all():
        last = batch[-1].sequence
        values = [
            {"of": row.sequence, "new_document": conversion[0], "new_arrays": conversion[1]}
            for row in batch
            if (conversion := _convert(row.document, f"the caption of row {row.sequence}"))
        ]
        if values:
            connection.execute(statement, values)


def _convert(document: Any, name: str) -> tuple[dict[str, Any], bytes] | None:
    """Return a document without its arrays, and the arrays as bytes; None if it has none that can be converted."""
    try:
        captions, arrays = [], {}
        for index, caption in enumerate(document.get("captions", [])):
            values, caption_arrays = _split_arrays(caption)
            captions.append(values)
            arrays |= {f"{index}.{key}": _encode(array) for key, array in caption_arrays.items()}
    except (AttributeError, TypeError, ValueError) as error:
        log.error("The arrays of %s are damaged (%s): they stay as they are", name, error)
        return None
    if not arrays:
        return None
    return document | {"captions": captions}, zlib.compress(safetensors.numpy.save(arrays))


def _split_arrays(caption: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Split a caption -> JSON values, arrays. Raises AttributeError, TypeError or ValueError for malformed lists."""
    rest, lists = dict(caption), {}
    for key in ("alphas", "gates", "word_log_probs"):
        if key in rest:
            lists[key] = rest.pop(key)
    if "label_maps" in rest:  # position of a word -> the map of its label
        maps, rest["label_maps"] = rest["label_maps"], [int(position) for position in rest["label_maps"]]
        if maps:
            lists["label_maps"] = list(maps.values())
    arrays = {key: np.array(values, np.float32) for key, values in lists.items()}
    for key, array in arrays.items():
        if array.ndim != _DIMENSIONS[key]:
            raise ValueError(f"{key} has {array.ndim} dimensions instead of {_DIMENSIONS[key]}")
    return rest, arrays


def _encode(array: np.ndarray) -> np.ndarray:
    """Encode as service.store.arrays did at this revision; a later one may encode differently."""
    if not (np.abs(array) < 200).all():
        return array
    counts = np.rint(array.astype(float) * 10**7).astype("<i4")
    return np.ascontiguousarray(np.moveaxis(counts[..., None].view(np.uint8), -1, 0))
