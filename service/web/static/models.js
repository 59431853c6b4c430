// The table of captioners and translators: those in use, scores, actions.
import { button, element } from "./elements.js";
import { when } from "./figures.js";
import { scoreOf, wordsFor } from "./model-kinds.js";

/** actions: promote(version), rollBack(language), compare(version), download(model), remove(version). */
export function showModels(body, models, actions) {
  body.replaceChildren(...models.map((model) => row(model, actions)));
}

function row(model, { promote, rollBack, compare, download, remove }) {
  const name = element("th", { scope: "row" }, model.name, " ");
  if (model.current) name.append(element("span", { className: "badge" }, "in use"));
  const languages = model.language ? ` ${model.source} to ${model.language}` : "";
  name.append(element("br"), element("code", {}, model.version), languages);
  const actionButtons = element("div", { className: "row" });
  const add = (text, onClick) => {
    const node = button({ className: "link" }, onClick, text);
    node.setAttribute("aria-label", `${text} ${model.name} ${model.version}`);
    actionButtons.append(node);
  };
  if (!model.current) add("Promote", () => promote(model.version));
  if (model.current && model.language) add("Roll back", () => rollBack(model.language));
  if (model.compared) add("Compare", () => compare(model.version));
  add("Download", () => download(model));
  if (!model.current && model.origin !== "built-in") add("Delete", () => remove(model.version));
  const createdAt = model.created_at ? when(model.created_at) : "";
  const scores = [model.scores?.data, model.scores?.replay].map((values) => scoreCell(model, values));
  const tableRow = element("tr", {}, name, element("td", {}, createdAt), ...scores, element("td", {}, actionButtons));
  tableRow.dataset.version = model.version;
  return tableRow;
}

function scoreCell(model, scores) {
  if (!scores) return element("td", {});
  const { after, before, isBetter } = scoreOf(model, scores);
  const previous = before === null ? "" : ` before ${before},`;
  const rest = `${previous} ${wordsFor(model).sizeOf(scores)}`;
  return element("td", {}, element("span", { className: isBetter ? "better" : "" }, after), element("span", { className: "quiet" }, rest));
}
