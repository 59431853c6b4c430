// The photo, its heat map, and the cell that the user points at.
import { blendMaps, normalise, paintHeat } from "./heat.js";
import { cellAfter, cellAt, cellBox } from "./grid.js";

const MAX_SMOOTH_SIDE = 640; // pixels; a smooth map can be scaled up without loss
const MAX_SIDE = 1280;
const FADE_MS = 260;

/**
 * onPoint(cell, how): cell is [row, column], "unseen" outside the model's input, or null when pointing ends;
 * how is "keys" or "pointer".
 */
export function createViewer({ photo, image, canvas, places, outline, noPreview }, onPoint) {
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = null;
  let grid = null;
  let look = { smooth: true, opacity: 0.6 };
  let currentMap = null; // the map on the canvas, its peak 1
  let fade = 0;
  let pointedCell = null;

  function paint(cells) {
    const [width, height] = canvasSize(photo, look.smooth);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (frame) paintHeat(canvas, cells, frame, look);
    else canvas.getContext("2d").clearRect(0, 0, width, height);
  }

  function showMap(map, { fades = false } = {}) {
    cancelAnimationFrame(fade);
    const previousMap = currentMap;
    currentMap = map && normalise(map);
    canvas.dataset.shows = map ? "map" : "nothing";
    if (!fades || reducedMotion.matches || !currentMap) return paint(currentMap);
    const startedAt = performance.now();
    const step = (now) => {
      const share = Math.min(Math.max((now - startedAt) / FADE_MS, 0), 1);
      paint(blendMaps(previousMap, currentMap, share));
      if (share < 1) fade = requestAnimationFrame(step);
    };
    step(startedAt);
  }

  function setFrame(newFrame, newGrid) {
    cancelAnimationFrame(fade);
    [frame, grid, currentMap] = [newFrame, newGrid, null];
    if (frame) setShape(photo, frame.width, frame.height);
    point(null);
    paint(null);
  }

  function point(cell, how = "pointer") {
    const box = Array.isArray(cell) ? cellBox(frame, grid, cell) : null;
    outline.hidden = !box;
    for (const side in box) outline.style.setProperty(side, `${100 * box[side]}%`);
    if (String(cell) === String(pointedCell)) return;
    pointedCell = cell;
    onPoint(cell, how);
  }

  function pointAt(event) {
    if (!frame) return;
    const box = places.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    point(x < 0 || x >= 1 || y < 0 || y >= 1 ? null : (cellAt(frame, grid, x, y) ?? "unseen"));
  }

  places.addEventListener("pointermove", pointAt);
  places.addEventListener("pointerdown", pointAt);
  places.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") point(null); // lifting a finger keeps the cell
  });
  places.addEventListener("blur", () => point(null));
  places.addEventListener("keydown", (event) => {
    const cell = frame && cellAfter(event.key, frame, grid, Array.isArray(pointedCell) ? pointedCell : null);
    if (!cell) return;
    event.preventDefault();
    point(cell, "keys");
  });

  image.addEventListener("load", () => {
    noPreview.hidden = true;
    image.hidden = false;
    if (!frame) setShape(photo, image.naturalWidth, image.naturalHeight);
  });
  image.addEventListener("error", () => {
    noPreview.hidden = false;
    image.hidden = true;
    if (!frame) setShape(photo, 3, 2);
  });
  new ResizeObserver(() => paint(currentMap)).observe(photo);

  return {
    setFrame,
    showMap,
    /** Show a picture without maps. */
    open(url) {
      setFrame(null, null);
      image.alt = "The photo";
      noPreview.textContent = "Your browser cannot show this type of file. The photo appears with its caption.";
      image.src = url;
    },
    /** Show the service's copy if the browser cannot show the file. */
    showCopy(url) {
      if (image.hidden) image.src = url;
    },
    setLook(newLook) {
      look = newLook;
      canvas.dataset.style = look.smooth ? "smooth" : "cells";
      paint(currentMap);
    },
    /** Show that the file cannot be displayed, if it is not. */
    fail() {
      noPreview.textContent = "This file cannot be shown.";
    },
    release: () => point(null),
  };
}

function setShape(photo, width, height) {
  photo.style.setProperty("--shape", String(width / height));
}

function canvasSize(photo, smooth) {
  const { width, height } = photo.getBoundingClientRect();
  const scale = Math.min(devicePixelRatio, (smooth ? MAX_SMOOTH_SIDE : MAX_SIDE) / Math.max(width, height, 1));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}
