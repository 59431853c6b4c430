// A list of bars: a label, a figure, and a bar of that length.
import { element } from "./elements.js";

/** Show bars in a list. bars: [{label, figure, share, className}, …]; share: length of the bar, 0 to 1. */
export function showBars(list, bars) {
  list.replaceChildren(...bars.map(barItem));
}

function barItem({ label, figure, share, className = "" }) {
  const bar = element("span", { className: "bar-length" });
  bar.style.setProperty("--share", Math.min(Math.max(share, 0), 1).toFixed(4));
  bar.setAttribute("aria-hidden", "true");
  return element(
    "li",
    { className: `bar ${className}`.trim() },
    element("span", { className: "bar-label" }, label),
    bar,
    element("span", { className: "bar-figure" }, figure),
  );
}
