// The caption as a group of buttons, one for each word.
import { element } from "./elements.js";
import { wordFigures } from "./figures.js";

/**
 * onEnter(index): a word is hovered or focused; onLeave(): none is; onPress(index): a word was clicked.
 * Arrow keys move between the words; the group is one tab stop.
 */
export function createWords(group, { onEnter, onLeave, onPress }) {
  const buttons = () => [...group.children];
  const indexOf = (event) => buttons().indexOf(event.target.closest(".word"));
  let hovered = -1;

  group.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return; // a tap is a press
    const index = indexOf(event);
    if (index < 0 || index === hovered) return;
    hovered = index;
    onEnter(index);
  });
  group.addEventListener("pointerout", (event) => {
    if (hovered < 0 || event.target.closest(".word")?.contains(event.relatedTarget)) return;
    hovered = -1;
    const focused = buttons().findIndex((button) => button.matches(":focus-visible"));
    if (focused >= 0) onEnter(focused);
    else onLeave();
  });
  group.addEventListener("focusin", (event) => {
    const index = indexOf(event);
    buttons().forEach((button, buttonIndex) => (button.tabIndex = buttonIndex === index ? 0 : -1));
    if (event.target.matches(":focus-visible")) onEnter(index);
  });
  group.addEventListener("focusout", (event) => {
    if (!group.contains(event.relatedTarget) && hovered < 0) onLeave();
  });
  group.addEventListener("click", (event) => {
    const index = indexOf(event);
    if (index >= 0) onPress(index);
  });
  group.addEventListener("keydown", (event) => {
    const targets = { ArrowLeft: indexOf(event) - 1, ArrowRight: indexOf(event) + 1, Home: 0, End: buttons().length - 1 };
    if (!(event.key in targets) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    buttons()[targets[event.key]]?.focus();
  });

  return {
    clear() {
      hovered = -1;
      group.replaceChildren();
    },
    add(word) {
      const button = wordButton(word, group.children.length, group.id);
      button.tabIndex = group.children.length === 0 ? 0 : -1;
      group.append(button);
    },
    /** Update the descriptions of the same words. */
    update(words) {
      buttons().forEach((button, index) => describeWord(button, words[index]));
    },
    /** active, pinned: indices, or -1. */
    mark(active, pinned) {
      buttons().forEach((button, index) => {
        button.classList.toggle("active", index === active);
        button.setAttribute("aria-pressed", String(index === pinned));
      });
    },
    /** Highlight each word by its heat, 0 to 1; null: no highlights. */
    tint(heats) {
      group.classList.toggle("asked", heats !== null);
      buttons().forEach((button, index) => button.style.setProperty("--warmth", heats ? heats[index].toFixed(3) : "0"));
    },
  };
}

/** prefix: of ids on the page. */
function wordButton(word, index, prefix) {
  const text = element("span", { className: "word-text", ...(word.lang && { lang: word.lang }) }, word.text);
  const description = element("span", { className: "word-says", hidden: true, id: `${prefix}-${index + 1}-says` });
  const button = element("button", { type: "button", className: "word" }, text, description);
  button.setAttribute("aria-describedby", description.id);
  button.setAttribute("aria-pressed", "false");
  describeWord(button, word);
  return button;
}

/** Describe how sure a word is, draw its line, and mark a guess. */
function describeWord(button, word) {
  button.querySelector(".word-says").textContent = wordFigures(word);
  const sure = word.judged ? word.confidence : word.probability;
  button.classList.toggle("without-line", sure === null);
  button.style.setProperty("--sure", (sure ?? 0).toFixed(4));
  button.classList.toggle("unsure", word.wording === "guess");
}
