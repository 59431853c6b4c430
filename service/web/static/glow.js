// Animated grid on the start page that glows under the pointer.
import { normalise, paintHeat } from "./heat.js";

const COLUMNS = 25; // on a wide stage; cells of 30 to 48 pixels
const FRAME_MS = 33;
const PEAK = 0.62; // of the colour map, so that the text over it stays readable

/** Draw on a canvas that fills `stage`. The glow wanders without a pointer, and rests with reduced motion. */
export function createGlow(canvas, stage) {
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  const isPortrait = () => stage.clientHeight > stage.clientWidth; // then the text is below, not beside
  let [x, y] = isPortrait() ? [0.7, 0.14] : [0.78, 0.4]; // the centre of the glow, in fractions of the stage
  const isHidden = () => stage.offsetParent === null;
  let target = null;
  let running = 0;
  let drawnAt = 0;

  function draw() {
    const cell = Math.min(Math.max(stage.clientWidth / COLUMNS, 30), 48);
    const columns = Math.max(4, Math.round(stage.clientWidth / cell));
    const rows = Math.max(4, Math.round(stage.clientHeight / cell));
    stage.style.setProperty("--columns", String(columns));
    stage.style.setProperty("--rows", String(rows));
    Object.assign(canvas, { width: columns, height: rows }); // one pixel per cell, scaled up by the browser
    const spread = 0.032 * Math.max(1, stage.clientHeight / stage.clientWidth);
    const map = normalise(bump(rows, columns, stage.clientWidth / stage.clientHeight, spread));
    const frame = { width: columns, height: rows, seen_box: [0, 0, columns, rows] };
    paintHeat(canvas, map.map((row) => row.map((heat) => PEAK * heat)), frame, { smooth: false, opacity: 1 });
  }

  function bump(rows, columns, aspect, spread) {
    return Array.from({ length: rows }, (_, row) =>
      Array.from({ length: columns }, (_, column) => {
        const dx = (column + 0.5) / columns - x;
        const dy = ((row + 0.5) / rows - y) / aspect;
        return Math.exp(-(dx * dx + dy * dy) / spread);
      }),
    );
  }

  function step(now) {
    if (reducedMotion.matches || isHidden()) return void (running = 0);
    running = requestAnimationFrame(step);
    if (now - drawnAt < FRAME_MS) return;
    drawnAt = now;
    const time = now / 1000;
    const high = isPortrait();
    const [toX, toY] = target ?? [
      (high ? 0.6 : 0.74) + 0.17 * Math.sin(time / 2.9),
      (high ? 0.14 : 0.45) + (high ? 0.1 : 0.27) * Math.sin(time / 2.1),
    ];
    x += (toX - x) * 0.15;
    y += (toY - y) * 0.15;
    draw();
  }

  function run() {
    if (isHidden()) return;
    if (reducedMotion.matches) draw();
    else if (!running) running = requestAnimationFrame(step);
  }

  function follow(event) {
    const box = stage.getBoundingClientRect();
    target = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  stage.addEventListener("pointermove", follow);
  addEventListener("dragover", follow);
  stage.addEventListener("pointerleave", () => (target = null));
  reducedMotion.addEventListener("change", run);
  new ResizeObserver(run).observe(stage); // also when it becomes visible again
}
