// The page that explains attention with the numbers of a caption.
import { captionPhoto, getCaption, getExampleFile, getExamples, getSteps, Problem } from "./api.js";
import { counted } from "./counted.js";
import { button, element, elementsById } from "./elements.js";
import { languageName } from "./language-name.js";
import { createLocations } from "./locations.js";
import { markRow, showMatrix } from "./matrix.js";
import { showProblem } from "./problem.js";
import { largest } from "./softmax.js";
import { createStepView } from "./step-view.js";
import { createWordChoice } from "./word-choice.js";

const EXAMPLE_KEY = "captioner.example"; // the id of the last example's caption, so that visits do not caption it again
const ID = /^[0-9a-f]{32}$/;
const NO_CAPTION = "The address of this page names no caption. Open one on the main page, or take an example.";

const byId = elementsById();
const stepView = createStepView(byId);
const words = createWordChoice(byId.captionWords, showStep);
let request = new AbortController();
let current = null; // {source, steps}

function showStep(index) {
  stepView.show(current.source, current.steps[index]);
  markRow(byId.matrixPicture, index);
}

function leave() {
  request.abort();
  request = new AbortController();
  showProblem(byId.problem, null);
  return request.signal;
}

function waitFor(text) {
  byId.loading.textContent = text;
  byId.loading.hidden = text === "";
}

/** Show the caption of an id and a rank, from 1. */
async function open(id, rank) {
  const signal = leave();
  if (!ID.test(id)) throw new Problem(404, NO_CAPTION);
  waitFor("Computing the numbers…");
  byId.steps.hidden = true;
  const [entry, numbers] = await Promise.all([getCaption(id, signal), getSteps(id, rank, signal)]);
  const image = await loadImage(entry.image.url);
  if (signal.aborted) return;
  waitFor("");
  history.replaceState(null, "", `?${new URLSearchParams({ caption: id, rank })}`);
  show(entry, numbers, image);
}

function show(entry, { caption, attention, read, rows, columns, steps }, image) {
  const flat = steps.map((step) => ({
    ...step,
    scores: step.scores?.flat() ?? null,
    weights: step.weights.flat(),
    readsOne: read === "location",
  }));
  current = { source: createLocations(entry.image, [rows, columns], image), steps: flat };
  const kind = attention === "hard" && read === "sum" ? "hard-sum" : attention;
  for (const node of document.querySelectorAll("[data-kind]")) node.hidden = node.dataset.kind !== kind;
  for (const photo of document.querySelectorAll(".map-photo")) showPhoto(photo, entry.image, caption);
  byId.gridSize.textContent = `${rows} × ${columns} = ${rows * columns}`;
  byId.captionLink.href = `/#${entry.id}`;
  const [wordCount, locationCount] = [flat.length, rows * columns];
  byId.matrixSize.textContent =
    `${counted(wordCount, "word")} × ${locationCount} locations = ${counted(wordCount * locationCount, "weight")}`;
  byId.empty.hidden = flat.length > 0;
  byId.steps.hidden = flat.length === 0;
  if (flat.length === 0) return;
  const texts = flat.map(({ word }) => word);
  showMatrix(
    { picture: byId.matrixPicture, table: byId.matrixTable },
    { words: texts, items: current.source, weights: flat.map(({ weights }) => weights) },
  );
  const peaks = flat.map(({ weights }) => Math.max(...weights));
  words.show(texts, largest(peaks, 1)[0]); // first the word with the clearest map
}

function showPhoto(photo, { url, width, height }, caption) {
  photo.style.setProperty("--shape", String(width / height));
  const picture = photo.querySelector("img");
  picture.src = url;
  picture.alt = photo.dataset.named === "true" ? caption : "";
}

async function loadImage(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    return image;
  } catch {
    return null; // the maps and numbers do not need it
  }
}

async function openExample(example) {
  const signal = leave();
  waitFor("Captioning the example…");
  byId.steps.hidden = true;
  const file = await getExampleFile(example);
  const entry = await captionPhoto(file, { captions: 1, signal, onImage() {}, onWord() {} });
  storeExample(entry.id);
  await open(entry.id, 1);
}

/** Run an action that shows a caption; on failure, show the problem and how to go on. */
async function attempt(action) {
  try {
    await action();
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) console.error(problem);
    waitFor("");
    const reported = problem instanceof Problem ? problem : new Problem(0, "The page failed. Try another caption.");
    const retry = [404, 409].includes(reported.status) ? {} : { "Try again": () => attempt(action) };
    showProblem(byId.problem, reported, { actions: retry });
  }
}

/** The caption that the address names: {id, rank}, or null. */
function captionOfAddress() {
  const query = new URLSearchParams(location.search);
  const id = query.get("caption");
  const rank = Number(query.get("rank") ?? 1);
  return id === null ? null : { id, rank: Number.isInteger(rank) && rank > 0 ? rank : 1 };
}

function storeExample(id) {
  try {
    localStorage.setItem(EXAMPLE_KEY, id);
  } catch {
    // Without storage, the example is captioned at each visit.
  }
}

function storedExample() {
  try {
    return localStorage.getItem(EXAMPLE_KEY);
  } catch {
    return null;
  }
}

async function showFirst(examples) {
  const requested = captionOfAddress();
  if (requested) return attempt(() => open(requested.id, requested.rank));
  if (await openStored()) return;
  if (examples.length > 0) return attempt(() => openExample(examples[0]));
  waitFor("");
  byId.noExample.hidden = false;
}

/** Show the stored example -> whether it is shown, or was aborted: it may be deleted, or made by another captioner. */
async function openStored() {
  const id = storedExample();
  if (id === null) return false;
  try {
    await open(id, 1);
    return true;
  } catch (problem) {
    return problem.name === "AbortError";
  }
}

function exampleItem(example) {
  const picture = element("img", { src: example.url, alt: example.alt, draggable: false });
  return element("li", {}, button({ className: "example" }, () => attempt(() => openExample(example)), picture));
}

async function start() {
  for (const language of document.querySelectorAll("[data-language]")) {
    language.textContent = languageName(language.textContent);
  }
  const examples = await getExamples().catch(() => []); // examples are optional
  byId.exampleList.replaceChildren(...examples.map(exampleItem));
  byId.examples.hidden = examples.length === 0;
  const credits = new Set(examples.map(({ author, licence }) => `${author} (${licence})`));
  byId.exampleCredits.textContent = `Photos: ${[...credits].join("; ")}.`;
  await showFirst(examples);
}

start();
