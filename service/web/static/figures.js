// Numbers formatted for the page.
import { EVIDENCE } from "./kinds.js";
import { WORDINGS } from "./verdict.js";

/** A probability in per cent with two significant digits: 62 %, 3.1 %, 0.28 %, 0.006 %. */
export function percent(probability) {
  const value = 100 * probability;
  if (value >= 99.5 && value < 100) return "over 99 %";
  if (value >= 10) return `${value.toFixed(0)} %`;
  if (value >= 1) return `${value.toFixed(1)} %`;
  if (value < 0.001) return "under 0.001 %";
  return `${Number(value.toPrecision(2))} %`;
}

const ALL_OVER = 0.4; // a map over more than this share of the photo counts as spread out

/**
 * “62 % sure · gate 0.48” or, for an occlusion map, “62 % sure · bright: “dog” depends on it”, with a note if the map is
 * spread out. Words of a caption with a confidence (`judged`) get “likely” instead of numbers, which the table has.
 */
export function wordFigures(word) {
  if (word.judged) return [WORDINGS[word.wording], whereFigures(word)].filter(Boolean).join(" · ") || "not rated";
  return `${percent(word.probability)} sure · ${word.kind === EVIDENCE ? evidenceFigures(word) : lookedFigures(word)}`;
}

/** A note on the map of a word, without numbers; "" if there is none. */
function whereFigures(word) {
  if (word.kind === EVIDENCE) return evidenceFigures(word);
  if (word.map_of === "label") return labelFigures(word);
  const nowhere = word.spread > ALL_OVER ? "attention spread out" : "";
  return [nowhere, word.label ? `named by the label “${word.label}”` : ""].filter(Boolean).join(", ");
}

function lookedFigures({ gate, spread, label, map_of }) {
  const named = label ? ` · named by the label “${label}”` : "";
  if (map_of === "label") return labelFigures({ label });
  return `gate ${gate.toFixed(2)}${spread > ALL_OVER ? ", attention spread out" : ""}${named}`;
}

function labelFigures({ label }) {
  return `bright: the label “${label}”`;
}

function evidenceFigures({ text, map }) {
  if (spreadOf(map) > ALL_OVER) return `“${text}” depends on no location in particular`;
  return `bright: “${text}” depends on it`;
}

/** The share of the grid that a map covers, 0 to 1: like `spread` of the API, which is for attention. */
function spreadOf(map) {
  const shares = map.flat().filter((share) => share > 0);
  const entropy = -shares.reduce((sum, share) => sum + share * Math.log(share), 0);
  return Math.exp(entropy) / map.flat().length;
}

/** A time of the service, in the local format and time zone. */
export function when(text) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}
