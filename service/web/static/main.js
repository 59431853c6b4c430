// The main page: its views and the transitions between them.
import { captionPhoto, getCaption, Problem } from "./api.js";
import { createCaptionView } from "./caption-view.js";
import { elementsById } from "./elements.js";
import { showExamples } from "./examples.js";
import { createGlow } from "./glow.js";
import { createHistory } from "./history.js";
import { createIntake } from "./intake.js";
import { createLookControls } from "./look.js";
import { showModel } from "./model.js";
import { showProblem } from "./problem.js";
import { createResult } from "./result.js";
import { createTranslation } from "./translation.js";
import { verdictOf } from "./verdict.js";
import { createViewer } from "./viewer.js";

const CAPTIONS = 3;

const byId = elementsById();
document.body.classList.toggle("touch", navigator.maxTouchPoints > 0);
const maxUpload = Number(document.body.dataset.maxUploadMb);

const viewer = createViewer(
  {
    photo: byId.photo,
    image: byId.photoImage,
    canvas: byId.heat,
    places: byId.places,
    outline: byId.cell,
    noPreview: byId.noPreview,
  },
  (cell, how) => captionView.highlightAt(cell, how),
);
const captionView = createCaptionView(
  { group: byId.words, reading: byId.reading, playButton: byId.play, playLabel: byId.playLabel },
  {
    viewer,
    say,
    onChosen: (index) => result.choose(index),
    onShown: (shown) => translation.follow(shown),
    releaseOther: () => translation.release(),
  },
);
const translation = createTranslation(byId, { captionView, say });
const result = createResult(byId, { captionView, translation, say, onCorrected: (entry) => history.update(entry) });
const history = createHistory(byId, {
  say,
  onDeleted: (id) => location.hash.slice(1) === id && goHome(),
});

let current = new AbortController(); // aborts the current request
let photoUrl = null;
let stopWaiting = () => {};

/** Announce a text to screen readers. */
function say(text) {
  byId.status.textContent = text;
}

/** Close the current view and abort its requests. */
function closeView() {
  current.abort();
  current = new AbortController();
  stopWaiting();
  showProblem(byId.problem, null);
  showProblem(byId.startProblem, null);
  byId.progress.hidden = true;
  byId.credit.hidden = true;
  result.close();
  captionView.clear();
  return current.signal;
}

function showView(name) {
  byId.start.hidden = name !== "start";
  byId.result.hidden = name !== "result";
  byId.again.hidden = name === "start";
}

function goToResult() {
  byId.result.focus({ preventScroll: true });
  byId.result.scrollIntoView({ block: "nearest" });
}

function showProgress(text) {
  byId.progressText.textContent = text;
  byId.progress.hidden = text === "";
}

/** Show a photo and caption it. credit: a line that names the author. */
function takePhoto(file, credit = "") {
  closeView();
  URL.revokeObjectURL(photoUrl);
  photoUrl = URL.createObjectURL(file);
  showView("result");
  viewer.open(photoUrl);
  byId.credit.textContent = credit;
  byId.credit.hidden = credit === "";
  window.history.pushState(null, "", location.pathname); // so that Back returns to the previous view
  history.mark(null);
  goToResult();
  if (file.size > maxUpload * 1_000_000) {
    const size = (file.size / 1_000_000).toFixed(1);
    const limit = `the limit is ${maxUpload} MB`;
    const detail = `The photo has ${size} MB, but ${limit}: make it smaller, or choose another.`;
    return showFailure(new Problem(413, detail), null);
  }
  caption(file, true);
}

async function caption(file, firstTime) {
  const signal = current.signal;
  stopWaiting();
  showProblem(byId.problem, null);
  captionView.clear();
  showProgress("Sending the photo…");
  say("Captioning…");
  try {
    const entry = await captionPhoto(file, {
      captions: CAPTIONS,
      signal,
      onImage({ image, grid, warnings }) {
        viewer.setFrame(image, grid);
        result.warn(warnings);
        showProgress("Captioning the photo…");
      },
      onWord(word) {
        showProgress("");
        captionView.add(word);
      },
    });
    showProgress("");
    captionView.complete();
    viewer.showCopy(entry.image.url);
    result.open(entry, { words: false });
    window.history.replaceState(null, "", `#${entry.id}`);
    history.add(entry);
    history.mark(entry.id);
    say(announcement(entry));
  } catch (problem) {
    if (signal.aborted) return;
    captionView.clear();
    result.warn([]);
    showFailure(problem, () => caption(file, false), firstTime);
  }
}

/** The text for screen readers: the warnings, the caption, its verdict. */
function announcement(entry) {
  const verdict = verdictOf(entry, entry.labels);
  const caption = `Caption: ${entry.caption}${verdict && "."}`;
  return [...entry.warnings.map(({ message }) => message), caption, verdict].filter(Boolean).join(" ");
}

/** Show a failure. retry: the action to try again, or null. autoRetry: retry once after Retry-After. */
function showFailure(problem, retry, autoRetry = false) {
  showProgress("");
  if (!(problem instanceof Problem)) console.error(problem);
  const shownProblem = problem instanceof Problem ? problem : new Problem(0, "The page failed. Try another photo.");
  viewer.fail();
  const actionList = [["Another photo", choose]];
  if (retry) actionList.splice(isPhotoProblem(shownProblem) ? 1 : 0, 0, ["Try again", retry]); // the more useful action first
  const actions = Object.fromEntries(actionList);
  const retrySeconds = retry && autoRetry && shownProblem.status === 503 ? shownProblem.retryAfter : null;
  stopWaiting = showProblem(byId.problem, shownProblem, { actions, retrySeconds, retry });
}

/** Whether the photo itself is the problem, so that a retry will not help. */
function isPhotoProblem(problem) {
  return [413, 415, 422].includes(problem.status);
}

function choose() {
  byId.file.click();
}

/** Open a stored caption. */
async function openEntry(id) {
  const signal = closeView();
  showView("result");
  viewer.open(`/api/captions/${id}/image`);
  history.mark(id);
  showProgress("Opening…");
  try {
    const entry = await getCaption(id, signal);
    const grid = [entry.alphas.rows, entry.alphas.columns];
    showProgress("");
    viewer.setFrame(entry.image, grid);
    result.open(entry, { words: true });
    goToResult();
    say(announcement(entry));
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.status !== 404) return showFailure(problem, () => openEntry(id));
    goHome();
    showProblem(byId.startProblem, problem);
  }
}

function goHome() {
  if (location.hash) window.history.pushState(null, "", location.pathname);
  followAddress();
}

/** Show the caption of the URL: #ID, or none. */
function followAddress() {
  const id = location.hash.slice(1);
  if (/^[0-9a-f]{32}$/.test(id)) openEntry(id);
  else if (id === "") {
    closeView();
    history.mark(null);
    showView("start");
  }
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || byId.result.hidden) return;
  if (event.key === "Escape") captionView.release();
  if (event.target.closest("input, textarea, select")) return;
  const playing = event.key.toLowerCase() === "k" || (event.key === " " && !event.target.closest("button, a, summary"));
  if (!playing) return;
  event.preventDefault();
  captionView.toggleFilm();
}

createLookControls(document.querySelectorAll("[name=style]"), byId.opacity, (look) => {
  viewer.setLook(look);
  result.setLook(look);
});
createIntake(
  { file: byId.file, camera: byId.camera, choosers: [byId.choose, byId.again], cameraButton: byId.cameraButton },
  takePhoto,
);
createGlow(byId.glow, byId.drop);
showExamples(byId, { onPhoto: takePhoto, onProblem: (problem) => showProblem(byId.startProblem, problem) });
showModel(byId.model, document.querySelectorAll("[data-attention]"));
history.load();
byId.home.addEventListener("click", (event) => {
  event.preventDefault();
  goHome();
});
addEventListener("popstate", followAddress);
addEventListener("keydown", onKey);
followAddress();
