// The kinds of map of a word, by their names in the API.

/** The attention weights that led to the word. */
export const ATTENTION = "attention";

/** The map of a translated word: the maps of the words it came from, by their weights. */
export const TRANSLATION = "translation";

/** The occlusion map of the chosen word. */
export const EVIDENCE = "evidence";
