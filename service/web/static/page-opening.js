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
  const sheets = (from) => [...from.querySelectorAll('link[rel="stylesheet"]')];
  const before = sheets(document);
  await Promise.all(sheets(next).map(addStyles)); // all of them, so that they are in the order of the next page
  history.pushState(null, "", url);
  path = location.pathname;
  document.title = next.title;
  document.body.replaceChildren(...next.body.childNodes);
  for (const link of before) link.remove();
  scrollTo(0, 0);
  await start();
}

function addStyles(link) {
  return new Promise((resolve) => {
    for (const event of ["load", "error"]) link.addEventListener(event, resolve);
    document.head.append(link);
  });
}
