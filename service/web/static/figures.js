// Numbers as people read them.

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

/** “62 % sure · looked 0.48”, and of a word whose map points at nothing, that it does not. */
export function wordFigures(word) {
  const looked = `${percent(word.probability)} sure · looked ${word.gate.toFixed(2)}`;
  return word.spread > ALL_OVER ? `${looked}, nowhere in particular` : looked;
}

/** A time of the service, as a person near it would say it. */
export function when(text) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}
