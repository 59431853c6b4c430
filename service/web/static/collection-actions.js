// What to do with a whole collection: rename, delete, take its captions away, train on them.
import * as api from "./collection-api.js";
import { askForText, confirmDeletion } from "./dialog.js";
import { attempt } from "./problem.js";

const SURE = 0.8;

/** current() -> the document of the collection. change(action): run an action that returns it, and show it. */
export function createActions(id, byId, { current, change }) {
  function showExport() {
    byId.exportPhotos.disabled = ["webdataset", "xmp"].includes(byId.exportFormat.value);
    byId.exportLink.href = api.exportUrl(id, byId.exportFormat.value, byId.exportPhotos.checked);
  }

  async function train() {
    const answer = await attempt(byId.problem, () => api.makeDataSet(id, byId.sure.checked ? SURE : null));
    if (answer) location.assign(answer.page);
  }

  async function rename() {
    const question = { label: "Rename the collection", field: "Name", value: current().name, action: "Rename" };
    const name = await askForText({ ...question, maxLength: 200 });
    if (name) await change(() => api.renameCollection(id, name));
  }

  async function remove() {
    if (!(await confirmDeletion(`Delete “${current().name}”?`, api.DELETION_TEXT))) return;
    await attempt(byId.problem, async () => {
      await api.deleteCollection(id);
      api.rememberCollection(id, null);
      location.assign("/collections");
    });
  }

  byId.rename.addEventListener("click", rename);
  byId.delete.addEventListener("click", remove);
  byId.train.addEventListener("click", train);
  byId.exportForm.addEventListener("input", showExport);
  byId.exportForm.addEventListener("submit", (event) => event.preventDefault());
  showExport();
}
