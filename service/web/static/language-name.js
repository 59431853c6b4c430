// Names of languages.

/** The English name of a language, such as German for de; the code if the browser knows none. */
export function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? code;
  } catch {
    return code; // not a code of the standard
  }
}
