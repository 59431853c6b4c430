// The admin token: stored in the browser, and requested from the user when needed.
import { Problem, send } from "./api.js";
import { openDialog } from "./dialog.js";
import { element } from "./elements.js";

const KEY = "captioner.token";
let sessionToken = null; // without storage, it lasts as long as the page

readTokenFromUrl();

/** Take the token from the link that the service prints (#token=…), and remove it from the address bar. */
function readTokenFromUrl() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  storeToken(token);
  history.replaceState(null, "", location.pathname);
}

function storedToken() {
  try {
    return localStorage.getItem(KEY) ?? sessionToken;
  } catch {
    return sessionToken;
  }
}

function storeToken(token) {
  sessionToken = token;
  try {
    if (token) localStorage.setItem(KEY, token);
    else localStorage.removeItem(KEY);
  } catch {
    // Without storage, it lasts as long as the page.
  }
}

/** Let the user see, change or remove the stored token. */
export const changeToken = () => askForToken("", storedToken() ?? "");

/** Call request(headers) with the token; ask the user if it is missing or wrong. */
export async function withToken(request) {
  for (let reason = ""; ; ) {
    const token = storedToken() || (await askForToken(reason));
    if (!token) throw new Problem(401, "This needs the token of the service.");
    try {
      return await request({ Authorization: `Bearer ${token}` });
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      storeToken(null);
      reason = "This token is wrong.";
    }
  }
}

/** `send` of api.js with the token. */
export const sendAsAdmin = (url, options = {}) =>
  withToken((headers) => send(url, { ...options, headers: { ...options.headers, ...headers } }));

let pendingDialog = null; // concurrent requests share one dialog

function askForToken(reason, currentToken = "") {
  pendingDialog ??= showDialog(reason, currentToken).finally(() => (pendingDialog = null));
  return pendingDialog;
}

async function showDialog(reason, currentToken) {
  const input = element("input", { type: "password", id: "token", autocomplete: "off", value: currentToken });
  const text = "The service prints it at its start, or its operator has set it. It is stored in this browser.";
  const isChosen = await openDialog({
    id: "token-dialog",
    label: "Token",
    heading: reason || "Retraining, switching and deleting need the token",
    content: [element("label", {}, text, input)],
    action: "Use it",
    cancel: "Not now",
  });
  if (!isChosen) return null;
  const token = input.value.trim();
  storeToken(token);
  return token;
}
