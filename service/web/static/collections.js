// The page of all collections: send photos as a new one, open, rename and delete the others.
import * as api from "./collection-api.js";
import { counted } from "./counted.js";
import { confirmDeletion } from "./dialog.js";
import { button, element, elementsById } from "./elements.js";
import { openInPlace } from "./page-opening.js";
import { watchChoosers, watchFolderDrops } from "./photo-files.js";
import { sendAll, uploads } from "./photo-upload.js";
import { attempt, showProblem } from "./problem.js";
import { changeToken } from "./token.js";

const byId = elementsById();

const leaving = new AbortController(); // aborts when the page of a new collection takes the place of this one

/** Open the page of a new collection as soon as it has photos; the rest is sent from there. */
async function openCollection({ detail: { id, name, photos } }) {
  leaving.abort();
  api.rememberCollection(id, name, photos);
  const url = `/collections/${id}`;
  await openInPlace(url, () => import("./collection.js")).catch(() => location.assign(url));
}

uploads.addEventListener("part", openCollection, { signal: leaving.signal });
const showOutcome = ({ detail }) => showProblem(byId.sendProblem, detail.problem);
uploads.addEventListener("end", showOutcome, { signal: leaving.signal });

const create = (files) => attempt(byId.sendProblem, () => sendAll(null, files));

function showKnown() {
  const known = api.knownCollections();
  byId.mine.replaceChildren(...known.map(({ id, name, photos }) => rowOf(id, name, photos ? ` · ${counted(photos, "photo")}` : "")));
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
    api.forgetCollection(id);
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
watchFolderDrops(create, leaving.signal);
showKnown();
