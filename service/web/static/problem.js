// Error messages in an alert region, with buttons for what to do.
import { counted } from "./counted.js";
import { button, element } from "./elements.js";

/**
 * Show a problem; null clears it. actions: {label: function}. until: seconds after which `retry` is called
 * automatically. Returns a function that stops the countdown.
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

/** Count down to the retry; screen readers announce it once. */
function countDown(box, seconds, retry) {
  const spoken = element("span", { className: "unseen" }, `Trying again in ${counted(seconds, "second")}.`);
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
  return `Trying again in ${seconds} s.`;
}
