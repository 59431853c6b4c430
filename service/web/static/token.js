// The token of those who may retrain, switch and delete: kept in this browser, asked for where it is wanted.
import { Problem, send } from "./api.js";
import { button, element } from "./elements.js";

const KEY = "captioner.token";
let unkept = null; // where the browser keeps nothing, it lasts as long as the page

takeFromAddress();

/** The link that the service prints ends with #token=…; it must not stay where others could see or copy it. */
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
    // Then it lasts as long as the page.
  }
}

/** Let a person see, change or take away the token that this browser keeps. */
export const changeToken = () => ask("", kept() ?? "");

/** request(headers) with the token; asks for it where there is none, or a wrong one. */
export async function withToken(request) {
  for (let why = ""; ; ) {
    const token = kept() || (await ask(why));
    if (!token) throw new Problem(401, "This needs the token of the service.");
    try {
      return await request({ Authorization: `Bearer ${token}` });
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      keep(null);
      why = "That was not the token.";
    }
  }
}

/** `send` of api.js with the token. */
export const sendAsAdmin = (url, options = {}) =>
  withToken((headers) => send(url, { ...options, headers: { ...options.headers, ...headers } }));

let asked = null; // several requests at once ask one question

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
        element("h2", { className: "label" }, why || "Who retrains, switches or deletes needs the token"),
        element(
          "label",
          {},
          "The service printed it when it started, or whoever runs it has set it. It stays in this browser.",
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
