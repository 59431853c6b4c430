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
  const doing = element("div", { className: "row" });
  const add = (text, act) => {
    const made = button({ className: "link" }, act, text);
    made.setAttribute("aria-label", `${text} ${model.name} ${model.version}`);
    doing.append(made);
  };
  if (!model.current) add("Promote", () => promote(model.version));
  if (model.compared) add("Compare", () => compare(model.version));
  add("Download", () => download(model.version));
  if (!model.current && model.origin !== "built-in") add("Delete", () => remove(model.version));
  const made = model.created_at ? when(model.created_at) : "";
  const line = element("tr", {}, name, element("td", {}, made), score(model.scores?.data), score(model.scores?.replay), element("td", {}, doing));
  line.dataset.version = model.version;
  return line;
}

function score(scores) {
  if (!scores) return element("td", {});
  const better = scores.new.CIDEr > scores.old.CIDEr;
  const now = element("span", { className: better ? "better" : "" }, scores.new.CIDEr.toFixed(3));
  const before = element("span", { className: "quiet" }, ` before ${scores.old.CIDEr.toFixed(3)}, ${counted(scores.images, "photo")}`);
  return element("td", {}, now, before);
}
