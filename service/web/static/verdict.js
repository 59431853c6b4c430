// The confidence of a caption, in words and in a table of numbers. Hidden for captioners without a confidence model.
import { element } from "./elements.js";

export const WORDINGS = { sure: "sure", likely: "likely", guess: "a guess" };

const SENTENCES = { sure: "Sure.", likely: "Likely right.", guess: "A guess." };
const HINTS = 3; // maximum number of suggested labels
const MIN_HINT_PROBABILITY = 0.05; // minimum probability of a suggested label

/** Whether a caption has a confidence. */
export const isJudged = (caption) => caption.confidence != null;

/** One or two sentences on a caption, or "". labels: [{name, probability}, …] of its photo, most probable first. */
export function verdictOf(caption, labels = []) {
  if (!isJudged(caption)) return "";
  const hints = caption.wording === "guess" ? hintsOf(labels) : [];
  return SENTENCES[caption.wording] + (hints.length > 0 ? ` Perhaps: ${hints.join(", ")}.` : "");
}

function hintsOf(labels) {
  const likely = labels.filter(({ probability }) => probability >= MIN_HINT_PROBABILITY);
  return likely.slice(0, HINTS).map(({ name }) => name);
}

/** elements: by id, in camel case. */
export function createVerdict({ verdict, numbers, numbersRows }) {
  return {
    show(caption, labels) {
      const text = verdictOf(caption, labels);
      verdict.textContent = text;
      verdict.hidden = text === "";
      verdict.dataset.wording = caption.wording ?? "";
      numbers.hidden = text === "";
      numbersRows.replaceChildren(...(text === "" ? [] : rowsOf(caption)));
    },
    clear() {
      verdict.hidden = true;
      numbers.hidden = true;
    },
  };
}

function rowsOf(caption) {
  const words = caption.words.map((word) => row(word.text, word.confidence, word.probability, word.gate));
  return [row("the whole caption", caption.confidence, caption.probability, null), ...words];
}

function row(name, ...values) {
  const head = element("th", { scope: "row" }, name);
  return element("tr", {}, head, ...values.map((value) => element("td", {}, value === null ? "–" : threeDigits(value))));
}

function threeDigits(value) {
  return value >= 0.001 || value === 0 ? value.toFixed(3) : value.toExponential(1);
}
