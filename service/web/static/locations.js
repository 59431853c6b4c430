// The locations of a photo as the items that words attend to. Another source of items, such as the words of a sentence,
// has the same members: noun, labels, showMap, picture.
import { element } from "./elements.js";
import { paintHeat } from "./heat.js";
import { cellBox } from "./grid.js";

const MAP_SIDE = 480; // pixels
const CROP_SIDE = 144;
const MARGIN = 1; // cells around a location in its crop
const LOOK = { smooth: true, opacity: 0.65 };

/** frame: {width, height, seen_box} of the photo. grid: [rows, columns]. image: the loaded photo, or null. */
export function createLocations(frame, grid, image) {
  const [rows, columns] = grid;
  const labels = Array.from({ length: rows * columns }, (_, index) => labelOf(index, columns));
  return {
    noun: "location",
    labels,
    /** Draw values of the locations, 0 to 1, over the photo. */
    showMap(canvas, values) {
      const scale = MAP_SIDE / Math.max(frame.width, frame.height);
      Object.assign(canvas, { width: Math.round(frame.width * scale), height: Math.round(frame.height * scale) });
      const cells = Array.from({ length: rows }, (_, row) => values.slice(row * columns, (row + 1) * columns));
      paintHeat(canvas, cells, frame, LOOK);
    },
    /** The part of the photo around a location, with the location outlined. */
    picture(index) {
      const canvas = element("canvas", { className: "crop", width: CROP_SIDE, height: CROP_SIDE });
      canvas.setAttribute("aria-hidden", "true"); // its label is beside it
      if (image) drawCrop(canvas, image, cellBox(frame, grid, [Math.floor(index / columns), index % columns]));
      return canvas;
    },
  };
}

function labelOf(index, columns) {
  return `row ${Math.floor(index / columns) + 1}, column ${(index % columns) + 1}`;
}

function drawCrop(canvas, image, { left, top, width, height }) {
  const [wide, high] = [width * image.naturalWidth, height * image.naturalHeight]; // of the location, in pixels
  const side = Math.max(wide, high) * (1 + 2 * MARGIN); // a square, so that the picture keeps its proportions
  const [marginX, marginY] = [(side - wide) / 2, (side - high) / 2];
  const [x, y] = [left * image.naturalWidth - marginX, top * image.naturalHeight - marginY];
  const context = canvas.getContext("2d");
  context.drawImage(image, x, y, side, side, 0, 0, CROP_SIDE, CROP_SIDE); // beyond the photo it stays empty
  const outline = [marginX, marginY, wide, high].map((length) => (length * CROP_SIDE) / side);
  for (const [colour, lineWidth] of [["#000", 4], ["#fff", 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth });
    context.strokeRect(...outline);
  }
}
