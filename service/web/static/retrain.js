// The retraining page: add photos, train, compare, switch.
import * as admin from "./admin.js";
import { Problem } from "./api.js";
import { showPhotos, showSentences } from "./comparison.js";
import { watchDrops } from "./drops.js";
import { button, element, elementsById } from "./elements.js";
import { canStartFrom, contentsOf, isText, scoreSentences, wordsForData } from "./model-kinds.js";
import { showModels } from "./models.js";
import { attempt, showProblem } from "./problem.js";
import { showReport } from "./report.js";
import { changeToken } from "./token.js";
import { showTraining } from "./training.js";

const POLL_MS = 3000;

const byId = elementsById();
const maxDataSet = Number(document.body.dataset.maxDatasetMb);

let models = [];
let dataSets = [];
const trainingItems = new Map(); // training id -> list item
const following = new Set(); // ids of trainings

function say(text) {
  byId.status.textContent = text;
}

// --- Data sets

async function addDataSet(text, send) {
  byId.sending.hidden = false;
  byId.sendingText.textContent = text;
  byId.sendingBar.removeAttribute("value");
  const data = await attempt(byId.dataProblem, send);
  byId.sending.hidden = true;
  if (!data) return;
  await loadDataSets(data.id);
  openReport(data);
  say(`${data.name}: ${contentsOf(data, false)}.`);
}

function uploadZip(file) {
  if (file.size > maxDataSet * 1_000_000) {
    const size = (file.size / 1_000_000).toFixed(0);
    showProblem(byId.dataProblem, new Problem(413, `The zip has ${size} MB, but the limit is ${maxDataSet} MB.`));
    return;
  }
  const onSent = (share) => {
    byId.sendingBar.value = share;
    if (share === 1) {
      byId.sendingText.textContent = `Checking the ${byId.languages.hidden ? "photos" : "sentences"}…`;
      byId.sendingBar.removeAttribute("value");
    }
  };
  addDataSet(`Sending ${file.name}…`, () => admin.sendZip("/api/datasets", file, onSent, zipQuery()));
}

/** What the zip holds, as the user says. */
function zipQuery() {
  if (byId.languages.hidden) return {};
  const named = { source: byId.source.value.trim(), target: byId.target.value.trim() };
  return { kind: "parallel_text", ...Object.fromEntries(Object.entries(named).filter(([, language]) => language)) };
}

function openReport(data) {
  showReport(byId.report, data);
  byId.report.focus({ preventScroll: true });
}

async function loadDataSets(chosen = byId.dataset.value) {
  dataSets = await admin.listDataSets();
  byId.dataList.replaceChildren(...dataSets.map(dataRow));
  const optionFor = (data) => new Option(`${data.name} (${contentsOf(data, false)})`, data.id);
  const usable = new Set(dataSets.filter((data) => data.usable).map((data) => data.id));
  byId.dataset.replaceChildren(...dataSets.filter((data) => data.usable).map(optionFor));
  if (usable.has(chosen)) byId.dataset.value = chosen;
  const replay = byId.replay.value;
  byId.replay.replaceChildren(new Option("None: stay close to the previous captions", ""), ...dataSets.filter((data) => !isText(data)).map(optionFor));
  byId.replay.value = dataSets.some(({ id }) => id === replay) ? replay : "";
  showKind();
}

function dataRow(data) {
  const { id, name, usable } = data;
  const text = `${name} · ${contentsOf(data)}`;
  const open = () => attempt(byId.dataProblem, async () => openReport(await admin.getDataSet(id)));
  const remove = () =>
    attempt(byId.dataProblem, async () => {
      await admin.deleteDataSet(id);
      byId.report.hidden = true;
      await loadDataSets();
    });
  const buttons = [button({ className: "link" }, open, "Report"), button({ className: "link" }, remove, "Delete")];
  for (const node of buttons) node.setAttribute("aria-label", `${node.textContent} ${name}`);
  const label = element("span", {}, usable ? text : `${text} · cannot be used for training`);
  return element("li", {}, label, element("span", { className: "row" }, ...buttons));
}

// --- Trainings

const chosenData = () => dataSets.find(({ id }) => id === byId.dataset.value);

/** Show the fields for the kind of model that the chosen data set trains. */
function showKind() {
  const { metrics: [metric], margin } = wordsForData(chosenData());
  showStarts();
  byId.replay.disabled = isText(chosenData()) || byId.start.value === "scratch";
  if (byId.metric.textContent === metric) return;
  byId.metric.textContent = metric;
  byId.margin.value = margin;
  byId.margin.setAttribute("aria-label", `Margin of ${metric}`);
}

/** Show what the training can start from. */
function showStarts() {
  const start = byId.start.value;
  const fitting = models.filter((model) => canStartFrom(model, chosenData()));
  const versions = fitting.map(({ name, version }) => new Option(`${name} ${version}`, version));
  const current = new Option(wordsForData(chosenData()).inUse, "current");
  byId.start.replaceChildren(current, new Option("None: from scratch", "scratch"), ...versions);
  if (fitting.some(({ version }) => version === start) || start === "scratch") byId.start.value = start;
}

function trainingBody() {
  return {
    dataset: byId.dataset.value,
    start: byId.start.value,
    preset: byId.preset.value,
    replay: byId.replay.disabled ? null : byId.replay.value || null,
    promote_margin: byId.promote.checked ? Number(byId.margin.value) : null,
    options: parseOptions(),
  };
}

function parseOptions() {
  try {
    return JSON.parse(byId.options.value || "{}");
  } catch (error) {
    throw new Problem(0, `The options are not JSON (${error.message}): write them as {"epochs": 20}.`);
  }
}

function submitTraining(event) {
  event.preventDefault();
  attempt(byId.trainProblem, async () => {
    if (!byId.dataset.value) throw new Problem(0, "Add a data set first.");
    await admin.startTraining(trainingBody());
    say("The training is queued.");
    await loadTrainings();
  });
}

async function loadTrainings() {
  const trainings = await admin.listTrainings();
  for (const [id, item] of trainingItems) {
    if (trainings.some((training) => training.id === id)) continue;
    item.remove();
    trainingItems.delete(id);
  }
  for (const training of trainings.toReversed()) {
    const existingItem = trainingItems.get(training.id);
    if (!existingItem) {
      const item = element("li", {});
      trainingItems.set(training.id, item);
      byId.trainings.prepend(item);
    }
    if (training.state === "running") follow(training.id);
    else if (existingItem?.dataset.state !== training.state || training.state === "queued") {
      drawTraining(training.state === "queued" ? training : await admin.getTraining(training.id));
    }
  }
  byId.trainingsEmpty.hidden = trainings.length > 0;
}

function drawTraining(training) {
  const { id } = training;
  const act = (operation) => () =>
    attempt(byId.trainProblem, async () => {
      await operation(id);
      await loadTrainings();
    });
  const item = trainingItems.get(id);
  if (!item) return;
  showTraining(item, training, {
    cancel: act(admin.cancelTraining),
    resume: act(admin.resumeTraining),
    remove: act(admin.deleteTraining),
    compare,
    log: () =>
      attempt(byId.trainProblem, async () => {
        item.querySelector("pre")?.remove();
        item.append(element("pre", { className: "scroll", tabIndex: 0 }, await admin.getLog(id)));
      }),
  });
}

/** Redraw a training at each change, until it ends. */
async function follow(id) {
  if (following.has(id)) return;
  following.add(id);
  try {
    await admin.followTraining(id, (training) => {
      drawTraining(training);
      if (training.state === "finished") loadModels().catch(() => {});
    });
  } catch {
    // The next poll tries again.
  }
  following.delete(id);
}

// --- Models

async function loadModels() {
  const newModels = await admin.listModels();
  if (JSON.stringify(newModels) === JSON.stringify(models)) return; // keeps the focus
  models = newModels;
  showModels(byId.models, models, {
    compare,
    promote: (version) => change(() => admin.promote(version), "It is now in use."),
    rollBack: (language) => change(() => admin.rollBackTranslator(language), "The translator before it is in use again."),
    remove: (version) => change(() => admin.deleteModel(version), "Deleted."),
    download: (model) => attempt(byId.modelsProblem, () => download(model)),
  });
  showStarts();
}

function change(action, message) {
  return attempt(byId.modelsProblem, async () => {
    await action();
    await loadModels();
    say(message);
  });
}

async function download({ kind, version }) {
  const url = URL.createObjectURL(await admin.downloadModel(version));
  element("a", { href: url, download: `${kind}-${version}.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function compare(version) {
  return attempt(byId.modelsProblem, async () => {
    const { photos, sentences } = await admin.getComparison(version);
    const model = models.find((entry) => entry.version === version);
    byId.comparisonHeading.textContent = `${model?.name ?? version} and the previous ${sentences ? "translator" : "captioner"}`;
    byId.comparisonScores.textContent = scoreSentences(model);
    if (sentences) showSentences(byId.comparisonPhotos, sentences);
    else showPhotos(byId.comparisonPhotos, photos);
    byId.comparison.hidden = false;
    byId.comparison.focus({ preventScroll: true });
    byId.comparison.scrollIntoView({ block: "start" });
  });
}

// --- Wiring

function chooser(opener, input, onFile) {
  opener.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files[0]) onFile(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });
}

async function poll() {
  try {
    await loadTrainings();
    await loadModels(); // a training or another user may have changed the captioner in use
  } catch {
    // The service may be restarting.
  }
  setTimeout(poll, POLL_MS);
}

chooser(byId.choose, byId.file, uploadZip);
chooser(byId.uploadModel, byId.modelFile, (file) =>
  change(() => admin.sendZip("/api/models", file, () => {}), "Added."),
);
byId.corrections.addEventListener("click", () => addDataSet("Collecting the corrections…", admin.addCorrections));
byId.folderForm?.addEventListener("submit", (event) => {
  event.preventDefault();
  addDataSet("Checking the photos…", () => admin.addFolder(byId.folder.value));
});
byId.trainForm.addEventListener("submit", submitTraining);
for (const field of [byId.start, byId.dataset]) field.addEventListener("change", showKind);
byId.kind.addEventListener("change", () => (byId.languages.hidden = byId.kind.value === "photos"));
byId.rollback.addEventListener("click", () => change(admin.rollBack, "The previous captioner is in use again."));
byId.comparisonClose.addEventListener("click", () => (byId.comparison.hidden = true));
byId.tokenButton.addEventListener("click", async () => (await changeToken()) && location.reload());
watchDrops(([file]) => file && uploadZip(file));
attempt(byId.dataProblem, async () => {
  const chosen = new URLSearchParams(location.search).get("dataset"); // made of a collection
  await loadDataSets(chosen ?? undefined);
  if (chosen) openReport(await admin.getDataSet(chosen));
  await loadModels();
  await poll();
});
