// Scores to weights, and figures of weights. The items may be locations of a photo or words of a sentence.

/** The softmax of scores at a temperature: exp(e_i / temperature) / sum_k exp(e_k / temperature). */
export function softmax(scores, temperature = 1) {
  const peak = scores.reduce((max, score) => Math.max(max, score), -Infinity);
  const powers = scores.map((score) => Math.exp((score - peak) / temperature)); // at most 1, so nothing overflows
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** The number of items that weights are spread over: exp(entropy), from 1 (one item has all) to all items (uniform). */
export function effectiveCount(weights) {
  const entropy = -weights.reduce((sum, weight) => sum + (weight > 0 ? weight * Math.log(weight) : 0), 0);
  return Math.exp(entropy);
}

/** The indices of the largest values, largest first; of equal ones, the first index first. */
export function largest(values, count) {
  return values
    .map((_, index) => index)
    .sort((one, other) => values[other] - values[one] || one - other)
    .slice(0, count);
}

/** Scale values to shares of their range, 0 (smallest) to 1 (largest); all 1 if they are equal. */
export function rescale(values) {
  const low = values.reduce((min, value) => Math.min(min, value), Infinity);
  const high = values.reduce((max, value) => Math.max(max, value), -Infinity);
  return values.map((value) => (high > low ? (value - low) / (high - low) : 1));
}
