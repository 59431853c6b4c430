// The table of captioners: the one in use, scores, actions.
import { counted } from "./counted.js";
import { button, element } from "./elements.js";
import { when } from "./figures.js";

/** actions: promote(version), compare(version), download(version), remove(version). */
export function showModels(body, models, actions) {
  body.replaceChildren(...models.map((model) => row(model, actions)));
}

function row(model, { promote, compare, download, remove }) {
  const name = element("th", { scope: "row" }, model.name, " ");
  if (model.current) name.append(element("span", { className: "badge" }, "in use"));
  name.append(element("br"), element("code", {}, model.version));
  const actionButtons = element("div", { className: "row" });
  const add = (text, onClick) => {
    const node = button({ className: "link" }, onClick, text);
    node.setAttribute("aria-label", `${text} ${model.name} ${model.version}`);
    actionButtons.append(node);
  };
  if (!model.current) add("Promote", () => promote(model.version));
  if (model.compared) add("Compare", () => compare(model.version));
  add("Download", () => download(model.version));
  if (!model.current && model.origin !== "built-in") add("Delete", () => remove(model.version));
  const createdAt = model.created_at ? when(model.created_at) : "";
  const tableRow = element("tr", {}, name, element("td", {}, createdAt), score(model.scores?.data), score(model.scores?.replay), element("td", {}, actionButtons));
  tableRow.dataset.version = model.version;
  return tableRow;
}

function score(scores) {
  if (!scores) return element("td", {});
  const better = scores.new.CIDEr > scores.old.CIDEr;
  const newScore = element("span", { className: better ? "better" : "" }, scores.new.CIDEr.toFixed(3));
  const previousScore = element("span", { className: "quiet" }, ` before ${scores.old.CIDEr.toFixed(3)}, ${counted(scores.images, "photo")}`);
  return element("td", {}, newScore, previousScore);
}
