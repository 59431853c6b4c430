// Numbers with nouns.

/** A number with thousands separators: 1,200. */
export const count = (number) => number.toLocaleString("en");

/** The number and its noun: 1 photo, 1,200 photos. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** An estimate of the time left, in words. */
export function timeLeft(seconds) {
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s left`;
  return `about ${counted(Math.round(seconds / 60), "minute")} left`;
}
