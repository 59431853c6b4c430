// The words of a sentence as buttons, of which one is chosen.
import { element } from "./elements.js";

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/**
 * onChosen(index): a word was clicked or tapped, or reached by the arrow keys, Home or End. The group is one tab stop.
 */
export function createWordChoice(group, onChosen) {
  const buttons = () => [...group.children];
  const indexOf = (event) => buttons().indexOf(event.target.closest("button"));

  function choose(index) {
    buttons().forEach((button, position) => {
      button.tabIndex = position === index ? 0 : -1;
      button.setAttribute("aria-pressed", String(position === index));
    });
    onChosen(index);
  }

  group.addEventListener("click", (event) => indexOf(event) >= 0 && choose(indexOf(event)));
  group.addEventListener("keydown", (event) => {
    const last = buttons().length - 1;
    const index = event.key in STEPS ? indexOf(event) + STEPS[event.key] : { Home: 0, End: last }[event.key];
    if (index === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (index < 0 || index > last) return;
    buttons()[index].focus();
    choose(index);
  });

  return {
    /** Show the words, and choose one of them. */
    show(words, index) {
      const properties = { type: "button", className: "choice-word" };
      group.replaceChildren(...words.map((word) => element("button", properties, word)));
      if (words.length > 0) choose(index);
    },
  };
}
