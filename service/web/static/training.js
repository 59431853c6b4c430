// One training: its state, curves, sample captions and actions.
import { showPicture } from "./admin.js";
import { curve } from "./curve.js";
import { button, element } from "./elements.js";
import { wordsFor } from "./model-kinds.js";

const STAGES = {
  starting: "Starting",
  encoding: "Encoding photos",
  training: "Training",
  calibrating: "Calibrating the confidence",
};

/** Fill a list item. actions: cancel(), resume(), remove(), log(), compare(version). */
export function showTraining(item, training, actions) {
  item.className = "training";
  item.dataset.state = training.state;
  const languages = training.target ? [`${training.source} to ${training.target}`] : [];
  const title = [training.dataset.name, training.preset ?? "own options", ...languages, `from ${training.start}`].join(", ");
  const head = element("header", {}, element("h3", {}, title), element("p", { className: "row" }, ...buttons(training, actions)));
  const open = item.querySelector(".losses")?.open ?? false;  // as the user left it
  item.replaceChildren(head, ...statusNodes(training), ...progressNodes(training, open));
}

function buttons({ state, version, stopping }, { cancel, resume, remove, log, compare }) {
  const nodes = [];
  const add = (text, onClick) => nodes.push(button({ className: "link" }, onClick, text));
  if (version) add("Compare", () => compare(version));
  if (state === "queued" || (state === "running" && !stopping)) add("Cancel", cancel);
  if (state === "failed" || state === "cancelled") add("Resume", resume);
  if (state !== "queued") add("Log", log);
  if (state !== "running" && state !== "queued") add("Delete", remove);
  return nodes;
}

function statusNodes(training) {
  const { state, progress, position, message, stopping, seconds, promoted } = training;
  if (state === "queued") return [element("p", {}, position === 1 ? "Next in the queue." : `Number ${position} in the queue.`)];
  if (state === "failed") return [element("p", { className: "failed" }, `Failed: ${message}.`)];
  if (state === "cancelled") return [element("p", {}, "Cancelled. It can be resumed from its last checkpoint.")];
  if (state === "finished") {
    const totalSeconds = Object.values(seconds).reduce((sum, stageSeconds) => sum + stageSeconds, 0);
    const same = training.version === training.start ? " No epoch was better than the version that it started from." : "";
    return [element("p", {}, `Finished in ${duration(totalSeconds)}.${promoted ? " It was promoted." : same}`)];
  }
  if (stopping) return [element("p", {}, "Stopping…")];
  const { stage, done, total, epoch, epochs, batch, batches, seconds_left: secondsLeft } = progress;
  const texts = [STAGES[stage] ?? wordsFor(training)[stage] ?? stage];
  if (stage === "training") texts.push(`epoch ${epoch} of ${epochs}`, secondsLeft > 1 ? `about ${duration(secondsLeft)} left` : "");
  else if (total) texts.push(`${done} of ${total}`);
  const bar = element("progress", { max: 1 });
  if (stage === "training") bar.value = (epoch - 1 + batch / batches) / epochs;
  else if (total) bar.value = done / total;
  bar.setAttribute("aria-label", "Progress");
  return [element("p", { className: "doing" }, texts.filter(Boolean).join(" · ")), bar];
}

function progressNodes(training, open) {
  const { epochs, samples, sentences } = training;
  if (!epochs.length) return [];
  const seriesOf = (name) => epochs.filter((epoch) => epoch[name] !== null).map((epoch) => [epoch.epoch, epoch[name]]);
  const [metric] = wordsFor(training).metrics;
  const curves = [curve(`${metric} on validation ${training.target ? "pairs" : "photos"}`, seriesOf(metric))];
  if (seriesOf("loss").length) curves.push(curve("Loss", seriesOf("loss")));
  return [element("div", { className: "curves" }, ...curves), ...lossDetails(epochs, open), training.target ? sentenceList(sentences) : sampleList(samples)];
}

/** Curves of the named losses before their weights, drawn when they are shown. open: whether they are. */
function lossDetails(epochs, open) {
  const names = [...new Set(epochs.flatMap((epoch) => Object.keys(epoch.losses)))];
  if (!names.length) return [];
  const draw = () => element("div", { className: "curves" }, ...names.map((name) => lossCurve(name, epochs)));
  const details = element("details", { className: "losses", open }, element("summary", {}, "Parts of the loss"));
  if (open) details.append(draw());
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector(".curves")) details.append(draw());
  });
  return [details];
}

function lossCurve(name, epochs) {
  const values = epochs.filter(({ losses }) => name in losses).map(({ epoch, losses }) => [epoch, losses[name]]);
  return curve(name[0].toUpperCase() + name.slice(1).replaceAll("_", " "), values);
}

function sampleList(samples) {
  return element("ul", { className: "samples" }, ...samples.map(({ photo, captions }) => {
    const image = element("img", { alt: "" });
    showPicture(image, photo);
    const [first, ...later] = captions;
    const latest = later.at(-1) ?? first;
    const earlier = later.length && first.epoch === 0 ? [element("p", { className: "quiet" }, `Before: ${first.text}`)] : [];
    const current = element("p", { className: "now" }, latest.text);
    return element("li", {}, image, current, ...earlier, element("p", { className: "quiet" }, `Epoch ${latest.epoch}`));
  }));
}

function sentenceList(sentences) {
  return element("ul", {}, ...sentences.map(({ source, translations }) => {
    const { text, epoch } = translations.at(-1);
    const translation = element("span", { className: "now", lang: "" }, text || "(empty)");
    return element("li", {}, `${source} → `, translation, element("span", { className: "quiet" }, ` epoch ${epoch}`));
  }));
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes`;
  return `${(seconds / 3600).toFixed(1)} hours`;
}
