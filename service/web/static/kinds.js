// The kinds of map that a word can show, by the names that the API gives them.

/** Where the model looked before it chose the word. */
export const ATTENTION = "attention";

/** What speaks for the word, worked out once it is known. */
export const EVIDENCE = "evidence";
