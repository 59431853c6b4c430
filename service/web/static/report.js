// What was found in a data set, for a person to read.
import { showPicture } from "./admin.js";
import { count, counted } from "./counted.js";
import { element } from "./elements.js";

const KINDS = {
  bad_entry: "refused lines and entries",
  empty_caption: "empty captions",
  no_caption: "placeholders in place of a caption, left out",
  rejected_caption: "captions that their data set marks as rejected, left out",
  precanned_caption: "captions that their data set marks as precanned, left out",
  cleaned_caption: "captions cleaned of HTML, escapes or invisible characters, and used",
  doubtful_caption: "captions that look wrong, and are used",
  repeated_entry: "repeated lines and entries",
  unknown_image: "lines about unknown photos",
  missing_image: "captions without their photo",
  found_elsewhere: "photos found by another name or in another folder, and used",
  same_name: "names that several photos have, of which the first is used",
  other_case: "photos named with other capitals, used all the same",
  unreadable_image: "photos that cannot be read",
  cut_short_image: "photos whose files are cut short, and are used",
  uncaptioned_image: "photos without captions",
  two_splits: "lines that put a photo into a second split",
  repeated_id: "repeated ids",
  other_id_type: "ids that are numbers in one place and text in another, and are used",
  stray_sidecar: "texts without a photo",
  unused_column: "columns of captions that are not used",
  unused_file: "files that are not used",
  ignored_file: "files that systems leave behind, passed over",
};
const share = (value) => (value > 0 && value < 0.01 ? "under 1 %" : `${Math.round(100 * value)} %`);

export function showReport(place, { name, usable, report }) {
  place.replaceChildren(
    element("h3", { id: "report-heading" }, name),
    verdict(usable),
    list("advice", report.advice),
    facts(report),
    splits(report),
    ...problems(report),
    samples(report.samples),
  );
  place.hidden = false;
}

function verdict(usable) {
  const text = usable ? "It can be trained on." : "It cannot be trained on.";
  return element("p", { className: usable ? "verdict" : "verdict bad" }, text);
}

function list(className, texts) {
  return element("ul", { className }, ...texts.map((text) => element("li", {}, text)));
}

function facts({ total, words, languages, rare_words: rare, unknown_words: unknown, format, drawn_splits: drawn }) {
  const rows = [
    ["Holds", `${counted(total.images, "photo")}, ${counted(total.captions, "caption")}`],
    ["Read as", `${format}, ${drawn ? "splits drawn by photo, as it has none" : "with its own splits"}`],
    ["Languages", languages.map(([code, part]) => `${languageName(code)} ${share(part)}`).join(", ") || "unknown"],
    ["Words", `${count(words.vocabulary)} different ones, ${words.per_caption.mean.toFixed(1)} in a caption`],
  ];
  if (rare) rows.push(["Rare words", rareWords(rare)]); // a report of before it was measured has none
  if (unknown) {
    const most = unknown.most_frequent.slice(0, 10).map(([word, times]) => `${word} (${count(times)})`);
    const told = `${count(unknown.words)}, ${share(unknown.share)} of all${most.length ? `: ${most.join(", ")}` : ""}`;
    rows.push(["New words", told]);
  }
  return element("dl", { className: "facts" }, ...rows.flatMap(([name, value]) => [
    element("dt", {}, name),
    element("dd", {}, value),
  ]));
}

function rareWords({ words, kept, share: part, min_count: least }) {
  const all = counted(words + kept, "word");
  if (!words) return `none of ${all} will be unknown (min_count ${least})`;
  return `${count(words)} of ${all} will be unknown, ${share(part)} of all running words (min_count ${least})`;
}

function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

function splits(report) {
  const row = (cell, values) =>
    element("tr", {}, ...values.map((value, at) => element(at ? cell : "th", { scope: at ? "" : "row" }, value)));
  const body = report.splits.map((split) => row("td", [split.split ?? "no split", count(split.images), count(split.captions)]));
  const head = element("thead", {}, element("tr", {}, ...["Split", "Photos", "Captions"].map((name) =>
    element("th", { scope: "col" }, name))));
  return element("table", {}, head, element("tbody", {}, ...body));
}

function problems(report) {
  const { counts } = report;
  const groups = [
    ["groups of the same photo in two splits", counts.leaks, report.leaks.map(together)],
    ["photos that are there more than once", counts.same_images, report.same_images.map(together)],
    ["groups of photos that look alike", counts.similar_images, report.similar_images.map(together)],
    ["captions that are there more than once", counts.repeated_captions, report.repeated_captions.map(
      ({ text, count: times }) => `${counted(times, "time")}: “${text}”`)],
    ...Object.keys({ ...KINDS, ...report.problem_counts }).map((kind) => [
      KINDS[kind] ?? kind.replaceAll("_", " "),
      report.problem_counts[kind] ?? 0,
      report.problems.filter((problem) => problem.kind === kind).map(place),
    ]),
  ];
  return groups.filter(([, number]) => number > 0).map(([heading, number, texts]) => {
    const more = number > texts.length ? [`and ${count(number - texts.length)} more`] : [];
    return element("details", {}, element("summary", {}, `${heading[0].toUpperCase()}${heading.slice(1)}: ${count(number)}`), list("", [...texts, ...more]));
  });
}

function together({ paths, splits }) {
  return paths.map((path, at) => `${path} (${splits[at] ?? "no split"})`).join(" = ");
}

function place({ file, entry, message }) {
  const where = entry === null ? file : typeof entry === "number" ? `${file}, line ${entry}` : `${file}, ${entry}`;
  return `${where}: ${message}`;
}

function samples(found) {
  return element("ul", { className: "samples" }, ...found.map(({ thumbnail, captions, split }) => {
    const image = element("img", { alt: captions[0] });
    showPicture(image, thumbnail);
    const said = captions.slice(0, 2).map((text) => element("p", {}, text));
    return element("li", {}, image, ...said, element("p", { className: "quiet" }, split ?? "no split"));
  }));
}
