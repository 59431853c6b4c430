// Conversion between points of the photo and cells of the grid.

/** The cell [row, column] at a point, in fractions of the photo's size; null outside the model's input. */
export function cellAt(frame, grid, x, y) {
  const [left, top, right, bottom] = frame.seen_box;
  const column = Math.floor(((x * frame.width - left) / (right - left)) * grid[1]);
  const row = Math.floor(((y * frame.height - top) / (bottom - top)) * grid[0]);
  return row >= 0 && row < grid[0] && column >= 0 && column < grid[1] ? [row, column] : null;
}

/** The box of a cell: {left, top, width, height} in fractions of the photo's size. */
export function cellBox(frame, grid, [row, column]) {
  const [left, top, right, bottom] = frame.seen_box;
  const width = (right - left) / grid[1];
  const height = (bottom - top) / grid[0];
  return {
    left: (left + column * width) / frame.width,
    top: (top + row * height) / frame.height,
    width: width / frame.width,
    height: height / frame.height,
  };
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** The next cell for an arrow key; the middle one if there is none yet; null for other keys. */
export function cellAfter(key, frame, grid, cell) {
  if (!(key in STEPS)) return null;
  const [rows, columns] = visibleCells(frame, grid);
  if (!cell) return [Math.floor((rows[0] + rows[1]) / 2), Math.floor((columns[0] + columns[1]) / 2)];
  return [clampToRange(cell[0] + STEPS[key][0], rows), clampToRange(cell[1] + STEPS[key][1], columns)];
}

/** First and last row and column that overlap the photo: seen_box can exceed it. */
function visibleCells(frame, grid) {
  const [left, top, right, bottom] = frame.seen_box;
  return [
    overlap(-top / (bottom - top), (frame.height - top) / (bottom - top), grid[0]),
    overlap(-left / (right - left), (frame.width - left) / (right - left), grid[1]),
  ];
}

function overlap(start, end, cells) {
  return [Math.max(0, Math.floor(start * cells + 1e-6)), Math.min(cells, Math.ceil(end * cells - 1e-6)) - 1];
}

function clampToRange(value, [first, last]) {
  return Math.min(Math.max(value, first), last);
}
