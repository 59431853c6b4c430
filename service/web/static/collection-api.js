// The API operations of collections, and the list of those that this browser knows.
import { send } from "./api.js";
import { readEvents } from "./sse.js";
import { sendAsAdmin } from "./token.js";

const KEY = "captioner.collections";
const PAGE = 500;

export const DELETION_TEXT = "Its photos and captions are deleted for good.";

const urlOf = (id, rest = "") => `/api/collections/${id}${rest}`;
const withBody = (method, body) => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});
const json = async (url, options) => (await send(url, options)).json();
const jsonAsAdmin = async (url, options) => (await sendAsAdmin(url, options)).json();

export const getCollection = (id) => json(urlOf(id));
export const listAllCollections = async () => (await jsonAsAdmin("/api/collections")).collections;
export const renameCollection = (id, name) => jsonAsAdmin(urlOf(id), withBody("PATCH", { name }));
export const deleteCollection = (id) => sendAsAdmin(urlOf(id), { method: "DELETE" });
export const cancelCollection = (id) => json(urlOf(id, "/cancel"), { method: "POST" });
export const captionAgain = (id, photos) => json(urlOf(id, "/caption-again"), withBody("POST", { photos }));
export const makeDataSet = (id, minConfidence) =>
  jsonAsAdmin(urlOf(id, "/dataset"), withBody("POST", { min_confidence: minConfidence }));

/** The words of the captioner's caption, and their maps. */
export const getWords = (id, number) => json(urlOf(id, `/photos/${number}/words`));

/** Store one caption; null takes back what people wrote. A Problem with status 409 has `present`. */
export const saveCaption = (id, { number, version }, caption) =>
  json(urlOf(id, `/photos/${number}`), withBody("PATCH", { caption, version }));

/** Store captions: [{number, caption, version}] -> {changed, refused}. */
export const saveCaptions = (id, captions) => json(urlOf(id, "/photos"), withBody("PATCH", { captions }));
export const replaceIn = (id, body) => json(urlOf(id, "/replace"), withBody("POST", body));
export const deletePhotos = (id, numbers) =>
  jsonAsAdmin(urlOf(id, `/photos?${numbers.map((number) => `number=${number}`).join("&")}`), { method: "DELETE" });

/** Send photos as one form; without an id, as a new collection. files: [{file, name}]. */
export function sendPhotos(id, files, signal) {
  const form = new FormData();
  for (const { file, name } of files) form.append("file", file, name);
  return json(id ? urlOf(id, "/photos") : "/api/collections", { method: "POST", body: form, signal });
}

/** Yield all photos, in pages. */
export async function* listPhotos(id) {
  for (let cursor = ""; cursor !== null; ) {
    const page = await json(urlOf(id, `/photos?limit=${PAGE}${cursor && `&cursor=${cursor}`}`));
    yield page.photos;
    cursor = page.next;
  }
}

/** Follow a collection until no photo waits. since: a revision. onEvent(name, data, revision). */
export async function followCollection(id, since, onEvent) {
  const response = await send(urlOf(id, `/events?since=${since}`));
  for await (const { event, data, id: revision } of readEvents(response.body)) onEvent(event, data, Number(revision));
}

/** options: of the API, by name. */
export const exportUrl = (id, options) => urlOf(id, `/export?${new URLSearchParams(options)}`);

/** The collections that this browser opened, last one first: [{id, name, photos}]. */
export function knownCollections() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

/** Remember a collection in this browser. photos: their number. */
export function rememberCollection(id, name, photos) {
  remember([{ id, name, photos }, ...knownCollections().filter((known) => known.id !== id)]);
}

export function forgetCollection(id) {
  remember(knownCollections().filter((known) => known.id !== id));
}

function remember(collections) {
  try {
    localStorage.setItem(KEY, JSON.stringify(collections.slice(0, 200)));
  } catch {
    // Without storage, the address of the page is what remains.
  }
}
