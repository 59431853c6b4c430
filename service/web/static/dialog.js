// Dialogs that ask for a text or a confirmation.
import { button, element } from "./elements.js";

/** Open a dialog with a form of `content` (elements) -> a promise: whether the person chose `action`. */
export function openDialog({ id = "", label, heading = label, content = [], action, cancel = "Cancel" }) {
  return new Promise((resolve) => {
    const dialog = element(
      "dialog",
      { className: "dialog", id },
      element(
        "form",
        { method: "dialog" },
        element("h2", { className: "label" }, heading),
        ...content,
        element(
          "p",
          { className: "row" },
          element("button", { type: "submit", className: "button primary", value: "chosen" }, action),
          button({ className: "button" }, () => dialog.close(), cancel),
        ),
      ),
    );
    dialog.setAttribute("aria-label", label);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "chosen");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Ask before something that cannot be undone -> whether to do it. text: what is lost. */
export const confirmDeletion = (label, text) => openDialog({ label, content: [element("p", {}, text)], action: "Delete" });

/** Ask for a text -> the text without white space around it, or "". */
export async function askForText({ label, field, value, action, maxLength }) {
  const input = element("input", { value, maxLength, required: true, autocomplete: "off" });
  const isChosen = await openDialog({ label, content: [element("label", {}, field, input)], action });
  return isChosen ? input.value.trim() : "";
}
