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

/** “62 % sure · looked 0.48” */
export function wordFigures(word) {
  return `${percent(word.probability)} sure · looked ${word.gate.toFixed(2)}`;
}

/** A time of the service, as a person near it would say it. */
export function when(text) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}
