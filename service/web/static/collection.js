// The page of one collection: photos, their captions, and what to do with them.
import * as api from "./collection-api.js";
import { createActions } from "./collection-actions.js";
import { createCell } from "./collection-cell.js";
import { createEdits } from "./collection-edits.js";
import { createGrid } from "./collection-grid.js";
import { createReplace } from "./collection-replace.js";
import { counted, timeLeft } from "./counted.js";
import { confirmDeletion } from "./dialog.js";
import { elementsById } from "./elements.js";
import "./page-opening.js"; // for going back to a page that opened this one in its place
import { watchChoosers, watchFolderDrops } from "./photo-files.js";
import { lastOutcome, sendAll, showProgress, uploads } from "./photo-upload.js";
import { attempt, showProblem } from "./problem.js";
import { changeToken } from "./token.js";

const RETRY_MS = 2000;
const ENOUGH = 100; // photos; with fewer, the report of a data set calls them few

const byId = elementsById();
const id = location.pathname.split("/").pop();
const photos = new Map(); // number -> document
const cells = new Map(); // number -> cell, of those that have elements
const selected = new Set(); // numbers
let collection = null;
let revision = 0;
let lastSelected = null;
let following = false;

function say(text) {
  byId.status.textContent = text;
}

// --- What is shown

const grid = createGrid(byId, (number) => {
  const loadWords = (other) => api.getWords(id, other);
  const nameOf = (other) => photos.get(other)?.name ?? "one that was deleted";
  const cell = createCell(number, { save, onMove, onSelect, loadWords, isSelected: (other) => selected.has(other), nameOf });
  cells.set(number, cell);
  return cell;
});

const words = () => byId.search.value.toLowerCase().split(/\s+/).filter(Boolean);

const FILTERS = {
  all: () => true,
  open: ({ corrected, state }) => !corrected && state !== "failed",
  guesses: ({ wording, corrected }) => wording === "guess" && !corrected,
  corrected: ({ corrected }) => corrected,
  failed: ({ state }) => state === "failed",
};

function shownPhotos() {
  const searched = words();
  const has = ({ caption, name }, word) => `${caption ?? ""}\n${name}`.toLowerCase().includes(word);
  const chosen = [...photos.values()].filter(
    (photo) => FILTERS[byId.show.value](photo) && searched.every((word) => has(photo, word)),
  );
  if (byId.sort.value === "confidence") chosen.sort((a, b) => (a.confidence ?? 2) - (b.confidence ?? 2));
  return chosen;
}

function showPhotos() {
  const shown = shownPhotos();
  grid.show(shown);
  byId.empty.hidden = shown.length > 0;
  byId.empty.textContent = photos.size > 0 ? "No photo matches." : "No photos yet.";
  showSelection();
}

/** Take over documents of photos. A caption that is being edited keeps its place in the order. */
function takePhotos(documents) {
  const areNew = documents.some(({ number }) => !photos.has(number));
  for (const photo of documents) photos.set(photo.number, photo);
  if (areNew) showPhotos();
  else grid.update(documents);
}

function showCollection(document_) {
  collection = document_;
  const { name, state, photos: total, waiting, failed, corrected, seconds_left: left } = document_;
  document.title = `${name} · Captioner`;
  byId.name.textContent = name;
  const parts = [counted(total, "photo")];
  if (waiting) parts.push(`${waiting} ${state === "cancelled" ? "not captioned" : "to go"}`);
  if (left !== null) parts.push(timeLeft(left));
  if (failed) parts.push(`${failed} failed`);
  if (corrected) parts.push(`${corrected} corrected`);
  byId.progressText.textContent = parts.join(" · ");
  byId.progressBar.hidden = state !== "captioning";
  byId.progressBar.value = total ? (total - waiting) / total : 0;
  byId.cancel.hidden = state !== "captioning";
  byId.resume.hidden = state !== "cancelled";
  byId.captionAgain.hidden = state === "captioning";
  const more = Math.max(0, ENOUGH - corrected);
  byId.trainText.textContent = `${counted(corrected, "correction")} so far. ${more ? `About ${more} more would help a training.` : "That is enough to start."}`;
  actions.showExport();
  api.rememberCollection(id, name, total);
}

// --- Selection

function onSelect(number, isSelected) {
  const shown = shownPhotos().map((photo) => photo.number);
  const [from, to] = [shown.indexOf(lastSelected), shown.indexOf(number)];
  const range = shiftHeld && from >= 0 ? shown.slice(Math.min(from, to), Math.max(from, to) + 1) : [number];
  for (const other of range) isSelected ? selected.add(other) : selected.delete(other);
  lastSelected = number;
  showPhotos();
}

let shiftHeld = false;
addEventListener("click", (event) => (shiftHeld = event.shiftKey), true);

function showSelection() {
  for (const number of selected) if (!photos.has(number)) selected.delete(number);
  byId.selected.textContent = `${selected.size} selected`;
  byId.selected.hidden = selected.size === 0;
  byId.replaceSelected.disabled = selected.size === 0;
  byId.deletePhotos.hidden = selected.size === 0;
  byId.selectAll.checked = selected.size > 0 && shownPhotos().every(({ number }) => selected.has(number));
}

// --- Editing

const edits = createEdits(id, photos, byId, {
  say,
  onChanged(documents, isElsewhere) {
    takePhotos(documents);
    for (const photo of documents) if (isElsewhere) cells.get(photo.number)?.accept(photo);
    refreshSoon();
  },
});

async function save(photo, caption, version) {
  try {
    return await edits.save(photo, caption, version);
  } catch (problem) {
    const cell = cells.get(photo.number);
    const { present } = problem;
    if (problem.status === 409 && present) {
      const theirs = { ...photo, caption: present.caption ?? null, corrected: true };
      cell.showConflict(present, async (mine) => {
        const stored = await save(theirs, mine, present.version);
        if (stored) cell.accept(stored);
      });
      say("Someone else changed this caption.");
    } else {
      cell.showProblem(problem.message);
    }
    return null;
  }
}

function onMove(number, steps) {
  if (!grid.focus(number, steps)) say(steps > 0 ? "This is the last photo." : "This is the first photo.");
}

let refreshing = null;

/** Get the counts, and what others have changed, a moment after edits. */
function refreshSoon() {
  clearTimeout(refreshing);
  refreshing = setTimeout(() => attempt(byId.problem, catchUp), 400);
}

createReplace(id, byId, {
  selected: () => [...selected],
  say,
  onReplaced(captions) {
    edits.rememberAll(captions.map(({ number }) => photos.get(number)).filter(Boolean));
    takePhotos(captions.map(({ number, after, version }) => ({ ...photos.get(number), caption: after, corrected: true, version })));
    for (const { number } of captions) cells.get(number)?.accept(photos.get(number));
    refreshSoon();
  },
});

// --- Captioning

function takeEvent(event, data, latest) {
  revision = latest;
  if (event === "photos") takePhotos(data.photos);
  else if (event === "deleted") forgetPhotos(data.numbers);
  else if (event === "collection") showCollection(data);
}

/** Take over what changed since the last event, if nothing is followed: the stream ends when no photo waits. */
async function catchUp() {
  if (following) return;
  try {
    await api.followCollection(id, revision, takeEvent);
  } catch (problem) {
    if (problem.status !== 503) throw problem;
    showCollection(await api.getCollection(id)); // too many clients follow
  }
}

/** Remove photos that someone deleted. */
function forgetPhotos(numbers) {
  const known = numbers.filter((number) => photos.delete(number));
  if (known.length === 0) return; // deleted on this page
  showPhotos();
  say(`Someone deleted ${counted(known.length, "photo")}.`);
}

async function follow() {
  if (following) return;
  following = true;
  while (collection?.state === "captioning") {
    try {
      await api.followCollection(id, revision, takeEvent);
      showCollection(await api.getCollection(id));
    } catch (problem) {
      if (problem.status === 404) {
        showProblem(byId.problem, problem); // someone deleted the collection
        break;
      }
      // Otherwise the service may be restarting.
    }
    if (collection.state === "captioning") await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  following = false;
}

async function load() {
  showCollection(await api.getCollection(id));
  revision = collection.revision;
  for await (const page of api.listPhotos(id)) takePhotos(page);
  showPhotos();
  follow();
}

/** Change the collection by an action that returns it, and follow it. */
const change = (action) =>
  attempt(byId.problem, async () => {
    showCollection(await action());
    follow();
  });

const actions = createActions(id, byId, { current: () => collection, change });

/** Take over the answer to a part of an upload, which adds photos that wait. */
function takePart({ detail }) {
  showCollection(detail);
  follow();
}

function showOutcome({ notice, problem }) {
  byId.notice.textContent = notice;
  attempt(byId.problem, catchUp);
  if (problem) showProblem(byId.problem, problem);
}

async function removePhotos() {
  const numbers = [...selected];
  const question = `Delete ${counted(numbers.length, "photo")}?`;
  if (!(await confirmDeletion(question, "They are deleted for good, with their captions."))) return;
  await attempt(byId.problem, async () => {
    for (let start = 0; start < numbers.length; start += 500) {
      showCollection(await api.deletePhotos(id, numbers.slice(start, start + 500)));
    }
    for (const number of numbers) photos.delete(number);
    showPhotos();
    byId.name.focus();
    say(`Deleted ${counted(numbers.length, "photo")}.`);
  });
}

// --- Wiring

for (const control of [byId.search, byId.show, byId.sort]) control.addEventListener("input", showPhotos);
byId.selectAll.addEventListener("change", () => {
  for (const { number } of shownPhotos()) byId.selectAll.checked ? selected.add(number) : selected.delete(number);
  showPhotos();
});
byId.undo.addEventListener("click", () => attempt(byId.problem, edits.undoLast));
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea");
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !isTyping) attempt(byId.problem, edits.undoLast);
});
byId.deletePhotos.addEventListener("click", removePhotos);
byId.cancel.addEventListener("click", () => change(() => api.cancelCollection(id)));
byId.resume.addEventListener("click", () => change(() => api.captionAgain(id, "waiting")));
byId.captionAgain.addEventListener("click", () => change(() => api.captionAgain(id, "all")));
byId.tokenButton.addEventListener("click", changeToken);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && collection) attempt(byId.problem, catchUp);
});
const add = (files) => attempt(byId.problem, () => sendAll(id, files));
watchChoosers({ choose: byId.add, chooseFolder: byId.addFolder, file: byId.file, folder: byId.folder }, add);
watchFolderDrops(add);
showProgress();
await attempt(byId.problem, load);
if (collection === null) document.querySelector("main").classList.add("missing");
uploads.addEventListener("part", takePart);
uploads.addEventListener("end", ({ detail }) => showOutcome(detail));
if (lastOutcome()) showOutcome(lastOutcome()); // of an upload that ended while the page opened
