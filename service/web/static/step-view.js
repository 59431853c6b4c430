// The numbers of one step: score, softmax, weighted sum, gate, and the likeliest words.
import { showBars } from "./bars.js";
import { element } from "./elements.js";
import { percent } from "./figures.js";
import { effectiveCount, largest, rescale, softmax } from "./softmax.js";

const BARS = 8; // strongest items with a bar
const READ = 5; // strongest items shown as what was read

/**
 * elements: by id, in camel case. source: the items, such as those of createLocations.
 * A step is {word, probability, scores: [M] or null, weights: [M], gate, candidates, label_weights, readsOne};
 * readsOne: it reads the item with the largest weight instead of the sum.
 */
export function createStepView(elements) {
  let source = null;
  let step = null;
  const temperature = () => Number(elements.temperature.value);

  function showScores() {
    const { word, scores } = step;
    const strongest = largest(scores, BARS);
    const shares = rescale(scores);
    const lowest = scores.indexOf(Math.min(...scores));
    source.showMap(elements.scoreMap, shares);
    elements.scoreNumbers.textContent =
      `For “${word}”, the highest of ${scores.length} scores is ${score(scores[strongest[0]])}, at ` +
      `${source.labels[strongest[0]]}. The lowest is ${score(scores[lowest])}, at ${source.labels[lowest]}.`;
    showBars(
      elements.scoreBars,
      strongest.map((index) => ({ label: source.labels[index], figure: score(scores[index]), share: shares[index] })),
    );
  }

  function showSoftmax() {
    const { scores } = step;
    const weights = scores ? softmax(scores, temperature()) : step.weights;
    const strongest = largest(weights, BARS);
    const peak = weights[strongest[0]];
    source.showMap(elements.softmaxMap, weights.map((weight) => weight / peak));
    elements.softmaxNumbers.textContent = scores ? quotient(scores, strongest[0], temperature()) : "";
    elements.softmaxSpread.textContent = spreadText(weights, peak, source.noun);
    elements.temperatureValue.textContent = temperature().toFixed(2);
    showBars(
      elements.softmaxBars,
      strongest.map((index) => ({
        label: source.labels[index],
        figure: percent(weights[index]),
        share: weights[index] / peak,
      })),
    );
  }

  function showSum() {
    const { weights, gate, readsOne } = step;
    const strongest = largest(weights, READ);
    const total = strongest.reduce((sum, index) => sum + weights[index], 0);
    const sum = readsOne ? "a₁" : `(${sumText(weights, strongest)})`;
    elements.readNumbers.textContent = `z = ${gate.toFixed(2)} × ${sum}`;
    elements.readShare.textContent =
      `These ${strongest.length} ${source.noun}s have ${percent(total)} of the weight.`;
    elements.readList.replaceChildren(...strongest.map((index, rank) => readItem(index, rank)));
    elements.gateNumbers.textContent = `The gate of “${step.word}” is ${gate.toFixed(2)}.`;
    showBars(elements.gateBar, [{ label: "β", figure: gate.toFixed(2), share: gate }]);
  }

  function readItem(index, rank) {
    const label = element("span", { className: "read-label" }, `a${subscript(rank + 1)}: ${source.labels[index]}`);
    const weight = element("span", { className: "read-weight" }, percent(step.weights[index]));
    return element("li", {}, source.picture(index), label, weight);
  }

  function showCandidates() {
    showBars(elements.candidateList, candidateBars(step));
    const labels = step.label_weights ?? [];
    elements.labelWeights.hidden = labels.length === 0;
    showBars(
      elements.labelList,
      labels.map(({ name, weight }) => ({ label: name ?? "none of these", figure: percent(weight), share: weight })),
    );
  }

  elements.temperature.addEventListener("input", () => step && showSoftmax());
  elements.temperatureReset.addEventListener("click", () => {
    elements.temperature.value = "1";
    if (step) showSoftmax();
  });

  return {
    /** Show a step; the temperature stays. */
    show(newSource, newStep) {
      [source, step] = [newSource, newStep];
      for (const node of [elements.scoreFigures, elements.temperatureControl]) node.hidden = !step.scores;
      elements.scoreNumbers.textContent = "";
      if (step.scores) showScores();
      showSoftmax();
      showSum();
      showCandidates();
      elements.reading.textContent = summaryOf(step, source);
    },
  };
}

/** The step in two sentences, for screen readers and as a summary. */
export function summaryOf({ word, weights, gate, probability }, { labels, noun }) {
  const [strongest] = largest(weights, 1);
  const spread = effectiveCount(weights).toFixed(0);
  return (
    `“${word}”: most weight at ${labels[strongest]}, with ${percent(weights[strongest])}. ` +
    `Spread over ${spread} of ${weights.length} ${noun}s, gate ${gate.toFixed(2)}, probability ${percent(probability)}.`
  );
}

/** The bars of the likeliest words; the caption's own word is marked, and added if it is not among them. */
export function candidateBars({ word, probability, candidates }) {
  const bars = candidates.map(({ text, probability: share }) =>
    candidateBar(text ?? "end of the caption", share, text === word),
  );
  return candidates.some(({ text }) => text === word) ? bars : [...bars, candidateBar(word, probability, true)];
}

function candidateBar(text, share, isChosen) {
  const label = isChosen ? `${text} (in the caption)` : text;
  return { label, figure: percent(share), share, className: isChosen ? "chosen" : "" };
}

function quotient(scores, index, temperature) {
  const power = (value) => Math.exp(value / temperature);
  const total = scores.reduce((sum, value) => sum + power(value), 0);
  const share = softmax(scores, temperature)[index].toFixed(3);
  const [numerator, denominator] = [large(power(scores[index])), large(total)];
  return `α = exp(${score(scores[index])} ÷ ${temperature.toFixed(2)}) ÷ Σ = ${numerator} ÷ ${denominator} = ${share}`;
}

/** The terms of the weighted sum that count most. */
function sumText(weights, strongest) {
  const terms = strongest.map((index, rank) => `${weights[index].toFixed(3)} a${subscript(rank + 1)}`);
  return [...terms, ...(weights.length > terms.length ? ["…"] : [])].join(" + ");
}

function spreadText(weights, peak, noun) {
  const spread = effectiveCount(weights).toFixed(0);
  const share = `The strongest ${noun} has ${percent(peak)} of the weight.`;
  return `${share} The weight is spread over ${spread} of ${weights.length} ${noun}s.`;
}

/** A score with its sign as a minus, not a hyphen. */
const score = (value) => value.toFixed(2).replace("-", "−");

/** A positive number of any size with three digits. */
function large(value) {
  if (!Number.isFinite(value)) return "a huge number";
  if (value >= 0.001 && value < 1e6) return Number(value.toPrecision(3)).toLocaleString("en");
  return value === 0 ? "0" : value.toExponential(2).replace("e+", " × 10^").replace("e-", " × 10^−");
}

const subscript = (number) => String(number).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
