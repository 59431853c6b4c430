// Numbers as people read them.
import { EVIDENCE } from "./kinds.js";
import { WORDINGS } from "./verdict.js";

/** A probability in per cent, with as many digits as tell something: 62 %, 3.1 %, 0.28 %, 0.006 %. */
export function percent(probability) {
  const value = 100 * probability;
  if (value >= 99.5 && value < 100) return "over 99 %";
  if (value >= 10) return `${value.toFixed(0)} %`;
  if (value >= 1) return `${value.toFixed(1)} %`;
  if (value < 0.001) return "under 0.001 %";
  return `${Number(value.toPrecision(2))} %`;
}

const ALL_OVER = 0.4; // a map over more than this share of the photo points at nothing

/**
 * “62 % sure · looked 0.48”, or, of a word that shows its evidence, “62 % sure · bright: what speaks for “dog””; and of
 * one whose map points at nothing, that it does not. Of a caption with a confidence, its `judged` words say “likely”
 * instead, and words without content nothing: the figures are in the details.
 */
export function wordFigures(word) {
  if (word.judged) return [WORDINGS[word.wording], whereFigures(word)].filter(Boolean).join(" · ") || "claims nothing";
  return `${percent(word.probability)} sure · ${word.kind === EVIDENCE ? evidenceFigures(word) : lookedFigures(word)}`;
}

/** Where a word points, without figures; "" where the map tells it. */
function whereFigures(word) {
  if (word.kind === EVIDENCE) return evidenceFigures(word);
  if (word.map_of === "label") return labelFigures(word);
  const nowhere = word.spread > ALL_OVER ? "looked nowhere in particular" : "";
  return [nowhere, word.label ? `named by the label “${word.label}”` : ""].filter(Boolean).join(", ");
}

function lookedFigures({ gate, spread, label, map_of }) {
  const named = label ? ` · named by the label “${label}”` : "";
  if (map_of === "label") return labelFigures({ label });
  return `looked ${gate.toFixed(2)}${spread > ALL_OVER ? ", nowhere in particular" : ""}${named}`;
}

function labelFigures({ label }) {
  return `bright: where the label “${label}” lies`;
}

function evidenceFigures({ text, map }) {
  if (spreadOf(map) > ALL_OVER) return `no place in particular speaks for “${text}”`;
  return `bright: what speaks for “${text}”`;
}

/** Over which share of the places a map is spread, 0 to 1: as `spread` of the API, which is that of the attention. */
function spreadOf(map) {
  const shares = map.flat().filter((share) => share > 0);
  const entropy = -shares.reduce((sum, share) => sum + share * Math.log(share), 0);
  return Math.exp(entropy) / map.flat().length;
}

/** A time of the service, as a person near it would say it. */
export function when(text) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}
