// Draws a map over a photo, with the geometry, interpolation and colours of captioner/overlays.py.
//
// A frame is {width, height, seen_box: [left, top, right, bottom]} in pixels of the upright photo; cell (row, column)
// of a map covers its part of seen_box.
import { INFERNO } from "./inferno.js";

const UNSEEN = [16, 10, 26, 115]; // red, green, blue, opacity outside the model's input

/** A map scaled to a maximum of 1. */
export function normalise(map) {
  const peak = Math.max(...map.map((row) => Math.max(...row)), Number.MIN_VALUE);
  return map.map((row) => row.map((value) => value / peak));
}

/** Interpolate two maps of the same grid: share 0 is the first, 1 the second. */
export function blendMaps(first, second, share) {
  return second.map((row, r) => row.map((value, c) => (1 - share) * (first ? first[r][c] : 0) + share * value));
}

/** Paint a map (values 0 to 1) on a canvas; without a map, only the area outside seen_box. */
export function paintHeat(canvas, cells, frame, { smooth, opacity }) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const [left, top, right, bottom] = frame.seen_box;
  const rows = axis(height, frame.height, top, bottom, cells ? cells.length : 1, smooth);
  const columns = axis(width, frame.width, left, right, cells ? cells[0].length : 1, smooth);
  const shades = shadesOf(opacity);
  const pixels = new Uint32Array(picture.data.buffer);
  const unseen = pack(UNSEEN);
  for (let y = 0, index = 0; y < height; y++) {
    const line = cells && rows.inside[y] ? interpolateRow(cells, rows, y) : null;
    for (let x = 0; x < width; x++, index++) {
      if (!rows.inside[y] || !columns.inside[x]) pixels[index] = unseen;
      else if (line) {
        const first = columns.first[x];
        const second = Math.min(first + 1, line.length - 1);
        const heat = line[first] + (line[second] - line[first]) * columns.blend[x];
        pixels[index] = shades[Math.round(255 * heat)];
      }
    }
  }
  context.putImageData(picture, 0, 0);
}

/** For each pixel along one axis: the cell before it, the weight of the next one, and whether it is in seen_box. */
function axis(pixels, length, start, end, cells, smooth) {
  const first = new Int32Array(pixels);
  const blend = new Float32Array(pixels);
  const inside = new Uint8Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const position = (((pixel + 0.5) * length) / pixels - start) * (cells / (end - start));
    inside[pixel] = position >= 0 && position < cells ? 1 : 0;
    if (smooth) {
      const centre = clamp(position - 0.5, 0, cells - 1);
      first[pixel] = Math.min(Math.floor(centre), Math.max(cells - 2, 0));
      const share = centre - first[pixel];
      blend[pixel] = share * share * (3 - 2 * share); // flat at the centres of cells, so there are no creases
    } else {
      first[pixel] = clamp(Math.floor(position), 0, cells - 1);
    }
  }
  return { first, blend, inside };
}

function interpolateRow(cells, rows, y) {
  const upper = cells[rows.first[y]];
  const lower = cells[Math.min(rows.first[y] + 1, cells.length - 1)];
  const share = rows.blend[y];
  return share === 0 ? upper : upper.map((value, column) => value + (lower[column] - value) * share);
}

/** The 256 colours as pixels; opacity grows with the value. */
function shadesOf(opacity) {
  return Uint32Array.from({ length: 256 }, (_, level) =>
    pack([...INFERNO.subarray(3 * level, 3 * level + 3), Math.round(255 * opacity * (level / 255) ** 0.75)]),
  );
}

function pack(colour) {
  return new Uint32Array(Uint8ClampedArray.from(colour).buffer)[0];
}

function clamp(value, min, max) {
  return Math.min(Math.max(value, min), max);
}
