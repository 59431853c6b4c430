// The choice of a language for translations, stored in the browser if possible.
import { languageName } from "./language-name.js";

const KEY = "captioner.language";

function readLanguage() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // no storage
  }
}

function saveLanguage(code) {
  try {
    localStorage.setItem(KEY, code);
  } catch {
    // Without storage, the choice lasts as long as the page.
  }
}

/** Name the options of a select and restore the last choice. onChange(): called when the user chooses. */
export function createLanguageChoice(select, onChange) {
  const options = [...select.options].filter(({ value }) => value !== "");
  for (const option of options) option.textContent = languageName(option.value);
  const stored = readLanguage();
  select.value = options.some(({ value }) => value === stored) ? stored : "";
  select.addEventListener("change", () => {
    saveLanguage(select.value);
    onChange();
  });
  return {
    isOffered: options.length > 0,
    /** The code of the chosen language; "" for none. */
    value: () => select.value,
  };
}
