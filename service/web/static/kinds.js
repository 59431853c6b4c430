// The kinds of map of a word, by their names in the API.

/** The attention weights that led to the word. */
export const ATTENTION = "attention";

/** The occlusion map of the chosen word. */
export const EVIDENCE = "evidence";
