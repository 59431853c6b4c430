// The page of all collections: send photos as a new one, open, rename and delete the others.
import * as api from "./collection-api.js";
import { counted } from "./counted.js";
import { confirmDeletion } from "./dialog.js";
import { button, element, elementsById } from "./elements.js";
import { sendAll, watchChoosers, watchFolderDrops } from "./photo-upload.js";
import { attempt } from "./problem.js";
import { changeToken } from "./token.js";

const byId = elementsById();

async function create(files) {
  let created = null;
  const isSent = await attempt(byId.sendProblem, async () => {
    await sendAll(null, files, byId, (collection) => {
      created = collection;
      api.rememberCollection(collection.id, collection.name);
    });
    return true;
  });
  if (isSent) location.assign(`/collections/${created.id}`);
  else if (created) showKnown(); // some files were sent before the problem
}

function showKnown() {
  const known = api.knownCollections();
  byId.mine.replaceChildren(...known.map(({ id, name }) => rowOf(id, name, "")));
  byId.mineEmpty.hidden = known.length > 0;
}

async function showAll() {
  const all = await attempt(byId.listProblem, api.listAllCollections);
  if (!all) return;
  byId.mine.replaceChildren(...all.map((collection) => rowOf(collection.id, collection.name, describe(collection))));
  byId.mineEmpty.hidden = all.length > 0;
  byId.mineEmpty.textContent = "None yet.";
  byId.showAll.hidden = true;
}

function describe({ photos, waiting, corrected, state }) {
  const parts = [counted(photos, "photo")];
  if (waiting) parts.push(state === "cancelled" ? `${waiting} not captioned` : `${waiting} to go`);
  if (corrected) parts.push(`${corrected} corrected`);
  return ` · ${parts.join(", ")}`;
}

function rowOf(id, name, facts) {
  const remove = async () => {
    if (!(await confirmDeletion(`Delete “${name}”?`, api.DELETION_TEXT))) return;
    const isDeleted = await attempt(byId.listProblem, async () => {
      await api.deleteCollection(id).catch((problem) => {
        if (problem.status !== 404) throw problem; // deleted already
      });
      return true;
    });
    if (!isDeleted) return;
    api.rememberCollection(id, null);
    row.remove();
    byId.status.textContent = "Deleted.";
  };
  const link = element("a", { href: `/collections/${id}` }, name);
  const deleteButton = button({ className: "link small" }, remove, "Delete");
  deleteButton.setAttribute("aria-label", `Delete ${name}`);
  const row = element("li", {}, element("span", {}, link, facts), deleteButton);
  return row;
}

byId.showAll.addEventListener("click", showAll);
byId.tokenButton.addEventListener("click", changeToken);
watchChoosers(byId, create);
watchFolderDrops(create);
showKnown();
