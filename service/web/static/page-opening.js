// Opening another page in place of this one, without ending what its scripts do.
import { send } from "./api.js";

let path = location.pathname;

// Going back leads to an address of this document, and the page of that address is no longer there.
addEventListener("popstate", () => {
  if (location.pathname !== path) location.reload();
});

/** Show the page of this URL, and run its script `start`, a function that imports it. Throws a Problem. */
export async function openInPlace(url, start) {
  const html = await (await send(url)).text();
  const next = new DOMParser().parseFromString(html, "text/html");
  const known = new Set([...document.styleSheets].map(({ href }) => href));
  const sheets = [...next.querySelectorAll('link[rel="stylesheet"]')].filter((link) => !known.has(new URL(link.getAttribute("href"), location).href));
  await Promise.all(sheets.map(addStyles));
  history.pushState(null, "", url);
  path = location.pathname;
  document.title = next.title;
  document.body.replaceChildren(...next.body.childNodes);
  scrollTo(0, 0);
  await start();
}

function addStyles(link) {
  return new Promise((resolve) => {
    for (const event of ["load", "error"]) link.addEventListener(event, resolve);
    document.head.append(link);
  });
}
