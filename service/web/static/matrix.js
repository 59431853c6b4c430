// The matrix of all weights, words by items, as a picture and as a table.
//
// An item is what a word can attend to: a location of a photo, or a word of a source sentence. Only its label is used.
import { element } from "./elements.js";
import { percent } from "./figures.js";
import { INFERNO } from "./inferno.js";
import { effectiveCount, largest } from "./softmax.js";

const MAX_LABELS = 40; // items beyond which the picture has no labels and the table has the strongest items only
const STRONGEST = 3;

/**
 * Show a matrix. words: N texts. items: {labels: M texts, noun: of an item}. weights: [N][M], each row sums to 1.
 * picture: an element, which gets a canvas with the words beside it. table: a <table>, for screen readers and others.
 */
export function showMatrix({ picture, table }, { words, items, weights }) {
  drawPicture(picture, words, items, weights);
  const isSmall = items.labels.length <= MAX_LABELS;
  table.replaceChildren(...(isSmall ? completeTable(words, items, weights) : strongestTable(words, items, weights)));
}

/** Mark the row of a word in the picture; -1: none. */
export function markRow(picture, index) {
  picture.querySelectorAll(".matrix-word").forEach((label, row) => label.classList.toggle("active", row === index));
}

function drawPicture(picture, words, items, weights) {
  const canvas = element("canvas", { className: "matrix-cells", width: items.labels.length, height: words.length });
  canvas.setAttribute("role", "img");
  const size = `${words.length} words by ${items.labels.length} ${items.noun}s`;
  canvas.setAttribute("aria-label", `Matrix of the weights, ${size}. The table below describes it.`);
  paint(canvas, weights);
  const labels = words.map((word) => element("span", { className: "matrix-word" }, word));
  picture.style.setProperty("--words", String(words.length));
  picture.style.setProperty("--items", String(items.labels.length));
  const heads = items.labels.length <= MAX_LABELS ? [headsOf(items.labels)] : [];
  picture.classList.toggle("with-heads", heads.length > 0);
  for (const node of [...labels, ...heads]) node.setAttribute("aria-hidden", "true"); // the table has them
  picture.replaceChildren(...heads, element("div", { className: "matrix-words" }, ...labels), canvas);
}

function headsOf(labels) {
  return element("div", { className: "matrix-heads" }, ...labels.map((label) => element("span", {}, label)));
}

/** One pixel for each weight, scaled up by the browser. Brightness follows the root, so that small weights show. */
function paint(canvas, weights) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const all = weights.flat();
  const peak = all.reduce((max, weight) => Math.max(max, weight), Number.MIN_VALUE);
  all.forEach((weight, index) => {
    const level = Math.round(255 * Math.sqrt(weight / peak));
    pixels.data.set([...INFERNO.subarray(3 * level, 3 * level + 3), 255], 4 * index);
  });
  context.putImageData(pixels, 0, 0);
}

function completeTable(words, { labels }, weights) {
  const rows = words.map((word, row) => tableRow(word, weights[row].map(percent)));
  return [tableHead(["Word", ...labels]), element("tbody", {}, ...rows)];
}

function strongestTable(words, { labels, noun }, weights) {
  const heads = ["strongest", "second", "third"].slice(0, STRONGEST).map((rank) => `${rank} ${noun}`);
  const rows = words.map((word, row) => {
    const strongest = largest(weights[row], STRONGEST).map((index) => `${labels[index]}: ${percent(weights[row][index])}`);
    return tableRow(word, [...strongest, `${effectiveCount(weights[row]).toFixed(0)} ${noun}s`]);
  });
  return [tableHead(["Word", ...heads, "spread over"]), element("tbody", {}, ...rows)];
}

function tableHead(texts) {
  return element("thead", {}, element("tr", {}, ...texts.map((text) => element("th", { scope: "col" }, text))));
}

function tableRow(word, texts) {
  const cells = texts.map((text) => element("td", {}, text));
  return element("tr", {}, element("th", { scope: "row" }, word), ...cells);
}
