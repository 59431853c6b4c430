// The admin token: stored in the browser, and requested from the user when needed.
import { Problem, send } from "./api.js";
import { button, element } from "./elements.js";

const KEY = "captioner.token";
let unkept = null; // without storage, it lasts as long as the page

takeFromAddress();

/** Take the token from the link that the service prints (#token=…), and remove it from the address bar. */
function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  keep(given);
  history.replaceState(null, "", location.pathname);
}

function kept() {
  try {
    return localStorage.getItem(KEY) ?? unkept;
  } catch {
    return unkept;
  }
}

function keep(token) {
  unkept = token;
  try {
    if (token) localStorage.setItem(KEY, token);
    else localStorage.removeItem(KEY);
  } catch {
    // Without storage, it lasts as long as the page.
  }
}

/** Let the user see, change or remove the stored token. */
export const changeToken = () => ask("", kept() ?? "");

/** Call request(headers) with the token; ask the user if it is missing or wrong. */
export async function withToken(request) {
  for (let why = ""; ; ) {
    const token = kept() || (await ask(why));
    if (!token) throw new Problem(401, "This needs the token of the service.");
    try {
      return await request({ Authorization: `Bearer ${token}` });
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      keep(null);
      why = "This token is wrong.";
    }
  }
}

/** `send` of api.js with the token. */
export const sendAsAdmin = (url, options = {}) =>
  withToken((headers) => send(url, { ...options, headers: { ...options.headers, ...headers } }));

let asked = null; // concurrent requests share one dialog

function ask(why, present = "") {
  asked ??= question(why, present).finally(() => (asked = null));
  return asked;
}

function question(why, present) {
  return new Promise((resolve) => {
    const input = element("input", { type: "password", id: "token", autocomplete: "off", value: present });
    const dialog = element(
      "dialog",
      { className: "token-dialog", id: "token-dialog" },
      element(
        "form",
        { method: "dialog" },
        element("h2", { className: "label" }, why || "Retraining, switching and deleting need the token"),
        element(
          "label",
          {},
          "The service prints it at its start, or its operator has set it. It is stored in this browser.",
          input,
        ),
        element(
          "p",
          { className: "row" },
          element("button", { type: "submit", className: "button primary", value: "use" }, "Use it"),
          button({ className: "button" }, () => dialog.close(), "Not now"),
        ),
      ),
    );
    dialog.setAttribute("aria-label", "Token");
    dialog.addEventListener("close", () => {
      const token = dialog.returnValue === "use" ? input.value.trim() : null;
      if (token !== null) keep(token);
      dialog.remove();
      resolve(token);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
