// A line chart over the epochs of a training.
import { element } from "./elements.js";

const WIDTH = 320;
const HEIGHT = 140;

/** values: [[epoch, value], …]. */
export function curve(title, values) {
  const [, last] = values.at(-1) ?? [0, 0];
  const text = values.length ? `${title} ${last.toFixed(3)}` : title;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  picture.setAttribute("aria-label", values.map(([epoch, value]) => `epoch ${epoch}: ${value.toFixed(3)}`).join(", "));
  picture.append(svg("path", { class: "axis", d: `M0 ${HEIGHT}H${WIDTH}` }));
  const points = pointsOf(values);
  if (points.length > 1) picture.append(svg("path", { class: "line", d: `M${points.join("L")}` }));
  return element("div", { className: "curve" }, element("p", { className: "label" }, text), picture);
}

function pointsOf(values) {
  const epochs = values.map(([epoch]) => epoch);
  const numbers = values.map(([, value]) => value);
  const low = Math.min(...numbers, 0);
  const high = Math.max(...numbers, low + 1e-6);
  const first = Math.min(...epochs);
  const span = Math.max(...epochs) - first || 1;
  return values.map(([epoch, value]) => {
    const x = ((epoch - first) / span) * WIDTH;
    const y = HEIGHT - 4 - ((value - low) / (high - low)) * (HEIGHT - 8);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
}

function svg(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
