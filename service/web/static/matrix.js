// The attention matrix of a translation as a table: a picture whose cells are also read as numbers.
import { element } from "./elements.js";

/** Fill a table: words of the source across, translated words down. translation: of the API. */
export function fillMatrix(table, { source, words, language }) {
  const heads = source.map((word) => element("th", { scope: "col" }, element("span", {}, word)));
  table.tHead.replaceChildren(element("tr", {}, element("td"), ...heads));
  table.tBodies[0].replaceChildren(
    ...words.map(({ text, weights }) =>
      element("tr", {}, element("th", { scope: "row", lang: language }, text), ...weights.map(cell)),
    ),
  );
}

function cell(weight) {
  const text = `${Math.round(100 * weight)} %`;
  const node = element("td", { className: "weight", title: text }, element("span", { className: "unseen" }, text));
  node.style.setProperty("--weight", String(Math.min(weight, 1)));
  return node;
}
