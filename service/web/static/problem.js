// Error messages in an alert region, with buttons for what to do.
import { Problem } from "./api.js";
import { counted } from "./counted.js";
import { button, element } from "./elements.js";

/**
 * Show a problem; null clears it. actions: {label: function}. retrySeconds: time after which `retry` is called
 * automatically. Returns a function that stops the countdown.
 */
export function showProblem(region, problem, { actions = {}, retrySeconds = null, retry = null } = {}) {
  region.replaceChildren();
  if (!problem) return () => {};
  const box = element("div", { className: "problem" }, element("p", { className: "problem-text" }, problem.message));
  const buttons = Object.entries(actions).map(([label, action], index) =>
    button({ className: index === 0 ? "button primary" : "button" }, action, label),
  );
  if (buttons.length > 0) box.append(element("p", { className: "row" }, ...buttons));
  const stop = retrySeconds === null ? () => {} : countDown(box, retrySeconds, retry);
  region.append(box);
  return stop;
}

/** Run an action, and show its failure in a region -> its result; null after a failure. */
export async function attempt(region, action) {
  showProblem(region, null);
  try {
    return await action();
  } catch (problem) {
    if (!(problem instanceof Problem)) console.error(problem);
    showProblem(region, problem instanceof Problem ? problem : new Problem(0, "The page failed. Reload it."));
    return null;
  }
}

/** Count down to the retry; screen readers announce it once. */
function countDown(box, seconds, retry) {
  const announcement = element("span", { className: "unseen" }, `Trying again in ${counted(seconds, "second")}.`);
  const visible = element("span", {}, waitText(seconds));
  visible.setAttribute("aria-hidden", "true");
  box.querySelector(".problem-text").after(element("p", { className: "problem-wait" }, announcement, visible));
  let secondsLeft = seconds;
  const timer = setInterval(() => {
    secondsLeft -= 1;
    if (secondsLeft > 0) return void (visible.textContent = waitText(secondsLeft));
    clearInterval(timer);
    retry();
  }, 1000);
  return () => clearInterval(timer);
}

function waitText(seconds) {
  return `Trying again in ${seconds} s.`;
}
