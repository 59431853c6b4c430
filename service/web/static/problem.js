// What went wrong, in a region that is read out at once, with what can be done about it.
import { counted } from "./counted.js";
import { button, element } from "./elements.js";

/**
 * Show a problem, or with null none. actions: {label: function}. until: seconds after which `retry` is called by
 * itself. Returns a function that ends the waiting.
 */
export function showProblem(region, problem, { actions = {}, until = null, retry = null } = {}) {
  region.replaceChildren();
  if (!problem) return () => {};
  const box = element("div", { className: "problem" }, element("p", { className: "problem-text" }, problem.message));
  const buttons = Object.entries(actions).map(([label, act], index) =>
    button({ className: index === 0 ? "button primary" : "button" }, act, label),
  );
  if (buttons.length > 0) box.append(element("p", { className: "row" }, ...buttons));
  const stop = until === null ? () => {} : countDown(box, until, retry);
  region.append(box);
  return stop;
}

/** Say once when it will be tried again; the seconds that pass are for the eye alone. */
function countDown(box, seconds, retry) {
  const spoken = element("span", { className: "unseen" }, `It will be tried again in ${counted(seconds, "second")}.`);
  const visible = element("span", {}, waiting(seconds));
  visible.setAttribute("aria-hidden", "true");
  box.querySelector(".problem-text").after(element("p", { className: "problem-wait" }, spoken, visible));
  let left = seconds;
  const timer = setInterval(() => {
    left -= 1;
    if (left > 0) return void (visible.textContent = waiting(left));
    clearInterval(timer);
    retry();
  }, 1000);
  return () => clearInterval(timer);
}

function waiting(seconds) {
  return `Trying again by itself in ${seconds} s.`;
}
