// Search and replace in the captions of a collection, with a preview of what changes.
import { replaceIn } from "./collection-api.js";
import { counted } from "./counted.js";
import { element } from "./elements.js";
import { attempt, showProblem } from "./problem.js";

const MAX_LISTED = 200;

/** selected() -> numbers. onReplaced(captions): those that changed, as the API names them. */
export function createReplace(id, byId, { selected, onReplaced, say }) {
  const { replace, replaceOpen, replaceForm, replaceSearch, replaceApply, replaceList, replaceProblem } = byId;

  const body = (preview) => ({
    search: replaceSearch.value,
    replacement: byId.replaceWith.value,
    regular_expression: byId.replacePattern.checked,
    match_case: byId.replaceCase.checked,
    whole_words: byId.replaceWords.checked,
    photos: byId.replaceSelected.checked ? selected() : null,
    preview,
  });

  function clear() {
    showProblem(replaceProblem, null);
    replaceList.replaceChildren();
    replaceApply.hidden = true;
  }

  async function preview(event) {
    event.preventDefault();
    clear();
    const answer = await attempt(replaceProblem, () => replaceIn(id, body(true)));
    if (!answer) return;
    replaceList.replaceChildren(...answer.captions.slice(0, MAX_LISTED).map(itemOf));
    const more = answer.captions.length - MAX_LISTED;
    if (more > 0) replaceList.append(element("li", { className: "quiet" }, `and ${counted(more, "caption")} more`));
    if (answer.captions.length === 0) replaceList.append(element("li", { className: "quiet" }, "No caption has this."));
    replaceApply.textContent = `Replace in ${counted(answer.changed, "caption")}`;
    replaceApply.hidden = answer.changed === 0;
    say(`${counted(answer.changed, "caption")} would change.`);
  }

  async function apply() {
    const answer = await attempt(replaceProblem, () => replaceIn(id, body(false)));
    if (!answer) return;
    clear();
    onReplaced(answer.captions.filter(({ problem }) => problem === null));
    const kept = answer.captions.length - answer.changed;
    say(`Replaced in ${counted(answer.changed, "caption")}.${kept ? ` ${counted(kept, "caption")} stayed.` : ""}`);
  }

  replaceOpen.addEventListener("click", () => {
    replace.hidden = !replace.hidden;
    replaceOpen.setAttribute("aria-expanded", String(!replace.hidden));
    if (!replace.hidden) replaceSearch.focus();
  });
  replaceForm.addEventListener("submit", preview);
  replaceForm.addEventListener("input", clear);
  replaceApply.addEventListener("click", apply);
}

function itemOf({ name, before, after, problem }) {
  return element(
    "li",
    {},
    element("span", { className: "quiet small" }, name),
    element("del", { dir: "auto" }, before),
    problem === null ? element("ins", { dir: "auto" }, after) : element("span", { className: "bad" }, problem),
  );
}
