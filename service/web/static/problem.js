// What went wrong, in a region that is read out at once, with what can be done about it.

/**
 * Show a problem, or with null none. actions: {label: function}. until: seconds after which `retry` is called by
 * itself. Returns a function that ends the waiting.
 */
export function showProblem(region, problem, { actions = {}, until = null, retry = null } = {}) {
  region.replaceChildren();
  if (!problem) return () => {};
  const box = element("div", "problem");
  box.append(element("p", "problem-text", problem.message));
  if (Object.keys(actions).length > 0) {
    const row = element("p", "row");
    Object.entries(actions).forEach(([label, act], index) => {
      const button = element("button", index === 0 ? "button primary" : "button", label);
      button.type = "button";
      button.addEventListener("click", act);
      row.append(button);
    });
    box.append(row);
  }
  const stop = until === null ? () => {} : countDown(box, until, retry);
  region.append(box);
  return stop;
}

/** Say once when it will be tried again; the seconds that pass are for the eye alone. */
function countDown(box, seconds, retry) {
  const line = element("p", "problem-wait");
  line.append(element("span", "unseen", `It will be tried again in ${seconds} seconds.`));
  const visible = element("span", "", waiting(seconds));
  visible.setAttribute("aria-hidden", "true");
  line.append(visible);
  box.querySelector(".problem-text").after(line);
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

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
