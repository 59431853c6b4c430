// The correction of a caption: show, save, remove.
import { removeCorrection, saveCorrection } from "./api.js";
import { showProblem } from "./problem.js";

export function createCorrection(elements, { say, onCorrected }) {
  const { correct, takeBack, correctionForm, correctionText, correctionCancel, correctionNow } = elements;
  let entry = null;

  function show() {
    const correction = entry?.correction ?? null;
    correctionNow.hidden = correction === null;
    correctionNow.textContent = correction?.text ?? "";
    correct.textContent = correction ? "Change it" : "Correct the caption";
    takeBack.hidden = correction === null;
  }

  function setEditing(editing) {
    correctionForm.hidden = !editing;
    elements.correctionButtons.hidden = editing;
    correctionNow.hidden = editing || !entry?.correction;
    showProblem(elements.correctionProblem, null);
  }

  function closeForm() {
    setEditing(false);
    correct.focus();
  }

  /** Send a change; on failure, show the problem and keep the text. */
  async function change(send, message) {
    const edited = entry;
    try {
      const correction = await send();
      edited.correction = correction;
      onCorrected(edited);
      say(message);
    } catch (problem) {
      if (edited === entry) showProblem(elements.correctionProblem, problem);
      return;
    }
    if (edited !== entry) return; // another photo was opened meanwhile
    show();
    closeForm();
  }

  correct.addEventListener("click", () => {
    correctionText.value = entry.correction?.text ?? entry.caption;
    setEditing(true);
    correctionText.focus();
    correctionText.select();
  });
  takeBack.addEventListener("click", () =>
    change(() => removeCorrection(entry.id).then(() => null), "Your correction was removed."),
  );
  correctionCancel.addEventListener("click", closeForm);
  correctionForm.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = correctionText.value.trim();
    if (text) change(() => saveCorrection(entry.id, text), "Your correction was saved.");
  });
  correctionForm.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      closeForm();
    } else if (event.key === "Enter" && event.target === correctionText && !event.shiftKey && !event.isComposing) {
      event.preventDefault(); // a caption is one line
      correctionForm.requestSubmit();
    }
  });

  return {
    open(newEntry) {
      entry = newEntry;
      setEditing(false);
      show();
    },
    close() {
      entry = null;
      setEditing(false);
      show();
    },
  };
}
