// What to do with a whole collection: rename, delete, take its captions away, train on them.
import * as api from "./collection-api.js";
import { askForText, confirmDeletion } from "./dialog.js";
import { attempt } from "./problem.js";

const SURE = 0.8;
const WITH_PHOTOS = ["webdataset", "xmp"]; // formats that always hold the photos
const SIDECARS = ["txt", "caption"]; // formats with a text before and after each caption

/**
 * current() -> the document of the collection. change(action): run an action that returns it, and show it.
 * Returns {showExport()}, to call when the numbers of captions change.
 */
export function createActions(id, byId, { current, change }) {
  /** Show the options of the chosen format, and the link to it if there are captions. */
  function showExport() {
    const format = byId.exportFormat.value;
    byId.exportPhotos.disabled = WITH_PHOTOS.includes(format);
    byId.exportTexts.hidden = !SIDECARS.includes(format);
    byId.exportLink.href = api.exportUrl(id, {
      format,
      photos: byId.exportPhotos.checked,
      corrected: byId.exportCorrected.checked,
      ...(SIDECARS.includes(format) && { prefix: byId.exportPrefix.value, suffix: byId.exportSuffix.value }),
    });
    const { captioned = 0, corrected = 0 } = current() ?? {};
    byId.exportLink.hidden = (byId.exportCorrected.checked ? corrected : captioned + corrected) === 0;
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
      api.forgetCollection(id);
      location.assign("/collections");
    });
  }

  byId.rename.addEventListener("click", rename);
  byId.delete.addEventListener("click", remove);
  byId.train.addEventListener("click", train);
  byId.exportForm.addEventListener("input", showExport);
  byId.exportForm.addEventListener("submit", (event) => event.preventDefault());
  showExport();
  return { showExport };
}
