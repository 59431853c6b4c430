"""Boxes in a photo -> shares of the cells of an attention map, which lie where the photo's ImageFrame puts them."""

from collections.abc import Sequence

import numpy as np

from captioner.images.photo import ImageFrame
from training.grounding.boxes import Box

_WHOLE = ImageFrame(1, 1, (0.0, 0.0, 1.0, 1.0))


def coverage(boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> np.ndarray:
    """The share of each cell's area that lies in at least one of the boxes -> float32 [H, W], 0 to 1.

    Exact: the edges of the boxes cut both axes into segments, each of which a box covers wholly or not at all. Cells
    cover their share of `frame.seen_box`, so that what a crop left out counts for nothing, and the part of a cell that
    lies beside a padded photo is in no box.

    boxes: in shares of the photo's width and height; they may overlap, and none gives zeros. grid: rows H, columns W.
    """
    left, top, right, bottom = _in_cells(boxes, frame, grid)
    across, inside_across = _segments(left, right, grid[1])  # [S, W], [boxes, S]
    down, inside_down = _segments(top, bottom, grid[0])
    covered = (inside_down.T @ inside_across) > 0  # [S, S]: some box covers both segments
    return np.minimum(down.T @ covered @ across, 1.0).astype(np.float32)


def centres_inside(boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> np.ndarray:
    """Which cells have their centre in at least one of the boxes, edges included -> bool [H, W]."""
    left, top, right, bottom = _in_cells(boxes, frame, grid)
    x, y = np.arange(grid[1]) + 0.5, np.arange(grid[0]) + 0.5
    across = (left[:, None] <= x) & (x <= right[:, None])  # [boxes, W]
    down = (top[:, None] <= y) & (y <= bottom[:, None])
    return (down[:, :, None] & across[:, None, :]).any(axis=0)


def centre_in_boxes(cell: tuple[int, int], boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> bool:
    """Whether the centre of a cell (row, column) lies in one of the boxes, edges included."""
    return bool(centres_inside(boxes, frame, grid)[cell])


def union_area(boxes: Sequence[Box]) -> float:
    """The share of the photo that lies in at least one of the boxes."""
    return float(coverage(boxes, _WHOLE, (1, 1))[0, 0])


def _in_cells(boxes: Sequence[Box], frame: ImageFrame, grid: tuple[int, int]) -> np.ndarray:
    """The edges of boxes in cells from the left and the top of what the model saw: [4, boxes]."""
    left, top, right, bottom = frame.seen_box
    across, down = grid[1] / (right - left), grid[0] / (bottom - top)  # cells per pixel of the photo
    scale = np.array([frame.width * across, frame.height * down] * 2)
    start = np.array([left * across, top * down] * 2)
    return (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * scale - start).T


def _segments(starts: np.ndarray, ends: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut an axis at every edge -> the share of each cell in each segment [S, cells]; which boxes cover it [B, S]."""
    edges = np.sort(np.concatenate((starts, ends)))
    lengths = np.minimum(np.maximum(edges[:, None] - np.arange(cells), 0.0), 1.0)  # of each cell, up to this edge
    inside = (starts[:, None] <= edges[:-1]) & (edges[1:] <= ends[:, None])
    return lengths[1:] - lengths[:-1], inside.astype(np.float64)
