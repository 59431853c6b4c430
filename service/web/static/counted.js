// Numbers with nouns.

/** A number with thousands separators: 1,200. */
export const count = (number) => number.toLocaleString("en");

/** The number and its noun: 1 photo, 1,200 photos. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
