// Numbers formatted for the page.
import { EVIDENCE, TRANSLATION } from "./kinds.js";
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

const SPREAD_OUT = 0.4; // a map over more than this share of the photo counts as spread out

/**
 * “62 % sure · gate 0.48” or, for an occlusion map, “62 % sure · bright: “dog” depends on it”, with a note if the map is
 * spread out. Words of a caption with a confidence (`judged`) get “likely” instead of numbers, which the table has.
 * `linked` of a word names the words of the other language, and comes first for a translated word.
 */
export function wordFigures(word) {
  if (word.kind === TRANSLATION) return `${word.linked} · ${percent(word.probability)} sure`;
  return [captionFigures(word), word.linked].filter(Boolean).join(" · ");
}

function captionFigures(word) {
  if (word.judged) return [WORDINGS[word.wording], mapNote(word)].filter(Boolean).join(" · ") || "not rated";
  return `${percent(word.probability)} sure · ${word.kind === EVIDENCE ? occlusionFigures(word) : attentionFigures(word)}`;
}

/** A note on the map of a word, without numbers; "" if there is none. */
function mapNote(word) {
  if (word.kind === EVIDENCE) return occlusionFigures(word);
  if (word.map_of === "label") return labelFigures(word);
  const spreadNote = word.spread > SPREAD_OUT ? "attention spread out" : "";
  return [spreadNote, word.label ? `named by the label “${word.label}”` : ""].filter(Boolean).join(", ");
}

function attentionFigures({ gate, spread, label, map_of }) {
  const labelNote = label ? ` · named by the label “${label}”` : "";
  if (map_of === "label") return labelFigures({ label });
  return `gate ${gate.toFixed(2)}${spread > SPREAD_OUT ? ", attention spread out" : ""}${labelNote}`;
}

function labelFigures({ label }) {
  return `bright: the label “${label}”`;
}

function occlusionFigures({ text, map }) {
  if (spreadOf(map) > SPREAD_OUT) return `“${text}” depends on no location in particular`;
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
