// One photo of a collection: its picture, its caption to edit, how sure the captioner is.
import { createCellWords } from "./collection-words.js";
import { button, element } from "./elements.js";

const WORDINGS = { sure: "sure", likely: "likely right", guess: "a guess" };
const STATES = { waiting: "Waiting…", captioned: "", failed: "Write a caption" };

/** A caption as a text field holds it: with other line breaks, it would look like an edit. */
const textOf = ({ caption }) => (caption ?? "").replace(/\r\n?/g, "\n");

/**
 * actions: {save(photo, text, version) -> promise of the stored photo, or null; onMove(number, steps);
 * onSelect(number, selected); isSelected(number); nameOf(number); loadWords(number) -> promise of the words with their maps}.
 */
export function createCell(number, actions) {
  const picture = element("img", { alt: "", loading: "lazy", decoding: "async", draggable: false });
  const check = element("input", { type: "checkbox", className: "cell-check" });
  const text = element("textarea", { rows: 3, maxLength: 2000, spellcheck: true, dir: "auto" });
  const note = element("p", { className: "cell-note" });
  const foot = element("p", { className: "cell-foot" });
  const pictureBox = element("div", { className: "cell-picture" }, picture, check);
  const node = element("div", { className: "cell-photo" }, pictureBox, text, note, foot);
  node.setAttribute("role", "listitem");
  let words = null;
  let photo = null;
  let saved = ""; // the caption as it was last stored, or seen
  let version = 0; // of the caption that is being edited
  let saving = false;

  const isChanged = () => text.value !== saved;

  async function save() {
    const value = text.value.trim();
    if (saving || !isChanged()) return true;
    if (!value) return restore();
    saving = true;
    node.classList.add("saving");
    const stored = await actions.save(photo, value, version);
    saving = false;
    node.classList.remove("saving");
    const typed = text.value;
    if (stored) accept(stored);
    if (stored && typed.trim() !== value) text.value = typed; // typed while it was stored
    return Boolean(stored);
  }

  function restore() {
    text.value = saved;
    showNote(null);
    return true;
  }

  function accept(stored) {
    saved = textOf(stored);
    [text.value, version] = [saved, stored.version];
    showNote(null);
  }

  /** Show what is wrong; without content, what is known of the photo: why it failed, or is in doubt. */
  function showNote(content, ...others) {
    const isFailed = photo?.state === "failed" && !saved;
    const known = isFailed ? photo.reason : photo?.warnings.map(({ message }) => message).join(" ");
    note.replaceChildren(content || known || "", ...others);
    note.classList.toggle("bad", Boolean(content) || isFailed);
  }

  text.addEventListener("keydown", async (event) => {
    if (event.isComposing) return; // Enter accepts what an input method offers
    if (event.key === "Escape") {
      event.preventDefault();
      restore();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (await save()) actions.onMove(number, event.ctrlKey || event.metaKey ? -1 : 1);
    }
  });
  text.addEventListener("blur", save);
  check.addEventListener("change", (event) => actions.onSelect(number, check.checked, event));

  return {
    node,
    focus() {
      text.focus({ preventScroll: true });
      text.select();
    },
    /** Show a photo. What is being typed stays, with the version that it began from. */
    show(newPhoto, position, total) {
      node.setAttribute("aria-posinset", position);
      node.setAttribute("aria-setsize", total);
      check.checked = actions.isSelected(number);
      if (newPhoto === photo) return;
      const before = photo;
      photo = newPhoto;
      node.dataset.state = photo.state;
      node.dataset.number = number;
      if (photo.generated && !words) {
        words = createCellWords(number, { cell: node, picture: pictureBox }, () => actions.loadWords(number));
      } else if (before && photo.generated !== before.generated) words?.clear();
      if (photo.width && !picture.src) picture.src = `${photo.thumbnail}?size=480`;
      check.setAttribute("aria-label", `Select ${photo.name}`);
      text.setAttribute("aria-label", `Caption of ${photo.name}`);
      text.placeholder = STATES[photo.state];
      if (!before || !isChanged()) {
        text.value = textOf(photo);
        version = photo.version;
      }
      saved = textOf(photo);
      if (photo.state !== before?.state) showNote(null);
      foot.replaceChildren(...footOf(photo, actions.nameOf));
    },
    /** Tell that someone else wrote another caption; onKeep stores this one over it. */
    showConflict(present, onKeep) {
      const theirs = button({ className: "link small" }, () => {
        accept(present);
        text.focus();
      }, "Use theirs");
      const mine = button({ className: "link small" }, () => {
        showNote(null);
        onKeep(text.value.trim());
      }, "Keep mine");
      showNote(`Someone else wrote: “${present.caption ?? ""}” `, mine, " ", theirs);
    },
    showProblem: (message) => showNote(message),
    /** Take over a caption that was stored: {caption, version}. */
    accept,
  };
}

function footOf({ name, wording, confidence, corrected, state, same_as: sameAs }, nameOf) {
  const parts = [element("span", { className: "cell-name", title: name }, name)];
  if (corrected) parts.push(element("span", { className: "badge" }, "corrected"));
  else if (state === "captioned" && wording) parts.push(sureness(wording, confidence));
  if (sameAs) parts.push(element("span", { className: "badge", title: `The same photo as ${nameOf(sameAs)}` }, "duplicate"));
  return parts;
}

/** The confidence as a word and a bar of three steps. */
function sureness(wording, confidence) {
  const steps = element("span", { className: "steps" }, ...[1, 2, 3].map(() => element("i")));
  steps.setAttribute("aria-hidden", "true");
  const node = element("span", { className: "sureness", title: `confidence ${confidence.toFixed(2)}` }, steps, WORDINGS[wording]);
  node.dataset.wording = wording;
  return node;
}
