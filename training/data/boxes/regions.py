"""Coverage of the cells of an attention map by boxes in the photo, given the photo's ImageFrame."""

from collections.abc import Sequence

import numpy as np

from captioner.images.fitting import ImageFrame
from training.data.boxes.box_set import Box

_UNIT_FRAME = ImageFrame(1, 1, (0.0, 0.0, 1.0, 1.0))


def coverage(boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> np.ndarray:
    """Return the share of each cell's area inside at least one box -> float32 [H, W], 0 to 1.

    Exact: the edges of the boxes divide both axes into segments, which each box covers completely or not at all. Cells
    cover their share of `frame.seen_box`, so that parts outside a crop do not count, and the padding beside a photo is
    in no box.

    boxes: in shares of the photo's width and height; they may overlap; no boxes give zeros. grid: rows H, columns W.
    """
    left, top, right, bottom = _to_cells(boxes, frame, grid)
    across, inside_across = _segments(left, right, grid[1])  # [S, W], [boxes, S]
    down, inside_down = _segments(top, bottom, grid[0])
    is_covered = (inside_down.T @ inside_across) > 0  # [S, S]: some box covers both segments
    return np.minimum(down.T @ is_covered @ across, 1.0).astype(np.float32)


def centres_inside(boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> np.ndarray:
    """Return which cells have their centre in at least one box, edges included -> bool [H, W]."""
    left, top, right, bottom = _to_cells(boxes, frame, grid)
    x, y = np.arange(grid[1]) + 0.5, np.arange(grid[0]) + 0.5
    across = (left[:, None] <= x) & (x <= right[:, None])  # [boxes, W]
    down = (top[:, None] <= y) & (y <= bottom[:, None])
    return (down[:, :, None] & across[:, None, :]).any(axis=0)


def centre_in_boxes(cell: tuple[int, int], boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> bool:
    """Return whether the centre of a cell (row, column) lies in a box, edges included."""
    return bool(centres_inside(boxes, frame, grid)[cell])


def union_area(boxes: Sequence[Box]) -> float:
    """Return the share of the photo inside at least one box."""
    return float(coverage(boxes, _UNIT_FRAME, (1, 1))[0, 0])


def _to_cells(boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> np.ndarray:
    """Return the edges of boxes in cells from the left and the top of the model's input: [4, boxes]."""
    left, top, right, bottom = frame.seen_box
    across, down = grid[1] / (right - left), grid[0] / (bottom - top)  # cells per pixel of the photo
    scale = np.array([frame.width * across, frame.height * down] * 2)
    start = np.array([left * across, top * down] * 2)
    return (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * scale - start).T


def _segments(starts: np.ndarray, ends: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide an axis at every edge -> share of each cell in each segment [S, cells]; which boxes cover it [B, S]."""
    edges = np.sort(np.concatenate((starts, ends)))
    lengths = np.minimum(np.maximum(edges[:, None] - np.arange(cells), 0.0), 1.0)  # length of each cell up to this edge
    inside = (starts[:, None] <= edges[:-1]) & (edges[1:] <= ends[:, None])
    return lengths[1:] - lengths[:-1], inside.astype(np.float64)
