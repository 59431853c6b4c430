// The inspection report of a data set.
import { showPicture } from "./admin.js";
import { count, counted } from "./counted.js";
import { element } from "./elements.js";
import { languageName } from "./language-name.js";
import { contentsOf, isText } from "./model-kinds.js";

const share = (value) => (value > 0 && value < 0.01 ? "under 1 %" : `${Math.round(100 * value)} %`);

export function showReport(region, data) {
  const { name, usable, report } = data;
  if (isText(data)) return showTextReport(region, data);
  region.replaceChildren(
    element("h3", { id: "report-heading" }, name),
    verdict(usable),
    list("advice", report.advice),
    facts(report),
    splits(report),
    ...problems(report),
    samples(report.samples),
  );
  region.hidden = false;
}

function showTextReport(region, data) {
  const { name, usable, report } = data;
  const rows = report.splits.map(({ split, pairs }) => [split, count(pairs)]);
  region.replaceChildren(
    element("h3", { id: "report-heading" }, name),
    verdict(usable),
    element("p", {}, contentsOf(data)),
    list("advice", report.advice),
    table(["Split", "Pairs"], rows),
    list("", report.left_out),
    list("", report.samples.map(({ source, target }) => `${source} → ${target}`)),
  );
  region.hidden = false;
}

function verdict(usable) {
  const text = usable ? "It can be used for training." : "It cannot be used for training.";
  return element("p", { className: usable ? "verdict" : "verdict bad" }, text);
}

function list(className, texts) {
  return element("ul", { className }, ...texts.map((text) => element("li", {}, text)));
}

function facts({ total, words, languages, rare_words: rare, unknown_words: unknown, format, drawn_splits: areSplitsDrawn }) {
  const rows = [
    ["Contents", `${counted(total.images, "photo")}, ${counted(total.captions, "caption")}`],
    ["Format", `${format}, ${areSplitsDrawn ? "splits drawn by photo" : "with its own splits"}`],
    ["Languages", languages.map(([code, fraction]) => `${languageName(code)} ${share(fraction)}`).join(", ") || "unknown"],
    ["Words", `${count(words.vocabulary)} different, ${words.per_caption.mean.toFixed(1)} per caption`],
  ];
  if (rare) rows.push(["Rare words", rareWords(rare)]); // missing in old reports
  if (unknown) {
    const examples = unknown.most_frequent.slice(0, 10).map(([word, times]) => `${word} (${count(times)})`);
    const text = `${count(unknown.words)}, ${share(unknown.share)} of all${examples.length ? `: ${examples.join(", ")}` : ""}`;
    rows.push(["New words", text]);
  }
  return element("dl", { className: "facts" }, ...rows.flatMap(([name, value]) => [
    element("dt", {}, name),
    element("dd", {}, value),
  ]));
}

function rareWords({ words, kept, share: fraction, min_count: minCount }) {
  const all = counted(words + kept, "word");
  if (!words) return `none of ${all} will be unknown (min_count ${minCount})`;
  return `${count(words)} of ${all} will be unknown, ${share(fraction)} of all running words (min_count ${minCount})`;
}

function splits(report) {
  const rows = report.splits.map((split) => [split.split ?? "no split", count(split.images), count(split.captions)]);
  return table(["Split", "Photos", "Captions"], rows);
}

/** A table; the first cell of each row names it. */
function table(names, rows) {
  const row = (values) =>
    element("tr", {}, ...values.map((value, index) => element(index ? "td" : "th", { scope: index ? "" : "row" }, value)));
  const head = element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
  return element("table", {}, head, element("tbody", {}, ...rows.map(row)));
}

function problems(report) {
  const { counts, problem_counts: problemCounts, headings = {} } = report; // reports of earlier versions have no headings
  const numbers = { ...counts, ...problemCounts };
  const texts = {
    leaks: report.leaks.map(joinPaths),
    same_images: report.same_images.map(joinPaths),
    similar_images: report.similar_images.map(joinPaths),
    repeated_captions: report.repeated_captions.map(
      ({ text, count: times }) => `${counted(times, "time")}: “${text}”`),
  };
  return Object.keys({ ...headings, ...numbers }).filter((name) => numbers[name] > 0).map((name) => {
    const entries = texts[name] ?? report.problems.filter(({ kind }) => kind === name).map(describeProblem);
    const heading = headings[name] ?? name.replaceAll("_", " ");
    const remainder = numbers[name] > entries.length ? [`and ${count(numbers[name] - entries.length)} more`] : [];
    return element("details", {}, element("summary", {}, `${heading[0].toUpperCase()}${heading.slice(1)}: ${count(numbers[name])}`), list("", [...entries, ...remainder]));
  });
}

function joinPaths({ paths, splits }) {
  return paths.map((path, at) => `${path} (${splits[at] ?? "no split"})`).join(" = ");
}

function describeProblem({ file, entry, message }) {
  const location = entry === null ? file : typeof entry === "number" ? `${file}, line ${entry}` : `${file}, ${entry}`;
  return `${location}: ${message}`;
}

function samples(entries) {
  return element("ul", { className: "samples" }, ...entries.map(({ thumbnail, captions, split }) => {
    const image = element("img", { alt: captions[0] });
    showPicture(image, thumbnail);
    const captionNodes = captions.slice(0, 2).map((text) => element("p", {}, text));
    return element("li", {}, image, ...captionNodes, element("p", { className: "quiet" }, split ?? "no split"));
  }));
}
