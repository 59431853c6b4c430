// Client of the HTTP API. Every failure is a Problem with a message for the user.
import { readEvents } from "./sse.js";

export class Problem extends Error {
  /** status: 0 without a response. retryAfter: seconds, or null. present: what is stored, if that is the problem. */
  constructor(status, detail, retryAfter = null, present = null) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
    this.present = present;
  }
}

const UNREACHABLE = "The service cannot be reached. Check that it is running and that you are online, then try again.";
const CONNECTION_LOST = "The connection was lost before the caption was complete. Try again.";

/** Upload a photo and follow its caption. onImage({image, grid, warnings}), onWord(word) -> the caption document. */
export async function captionPhoto(file, { captions, signal, onImage, onWord }) {
  const form = new FormData();
  form.append("image", file, file.name || "photo");
  form.append("captions", String(captions));
  const response = await send("/api/captions?stream=1", { method: "POST", body: form, signal });
  try {
    for await (const { event, data } of readEvents(response.body)) {
      if (signal.aborted) break;
      if (event === "image") onImage(data);
      else if (event === "word") onWord(data);
      else if (event === "caption") return data;
      else if (event === "problem") throw new Problem(data.status, data.detail, data.retry_after);
    }
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
    throw new Problem(0, CONNECTION_LOST);
  }
  signal.throwIfAborted();
  throw new Problem(0, CONNECTION_LOST);
}

export const getCaption = (id, signal) => json(`/api/captions/${id}`, { signal });

/** The translation of each caption of a photo, best first; null for a caption that has none. */
export async function getTranslations(id, language, signal) {
  const entry = await json(`/api/captions/${id}?language=${encodeURIComponent(language)}`, { signal });
  return [entry, ...entry.alternatives].map(({ translation }) => translation);
}

/** The occlusion maps of the caption of this rank, from 1: {rows, columns, maps}. */
export const getEvidence = (id, rank, signal) => json(`/api/captions/${id}/evidence?caption=${rank}`, { signal });

/** The steps of the caption of this rank, from 1: {caption, attention, read, rows, columns, steps}. */
export const getSteps = (id, rank, signal) => json(`/api/captions/${id}/steps?caption=${rank}`, { signal });

export const listCaptions = (page, perPage) => json(`/api/captions?page=${page}&per_page=${perPage}`);

export const saveCorrection = (id, text) =>
  json(`/api/captions/${id}/correction`, {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }),
  });

export const removeCorrection = (id) => send(`/api/captions/${id}/correction`, { method: "DELETE" });

export const getModel = () => json("/api/models/current");

export const getExamples = () => json("/examples");

/** The file of an example, like a chosen file. */
export async function getExampleFile(example) {
  const blob = await (await send(example.url)).blob();
  return new File([blob], example.name, { type: blob.type });
}

async function json(url, options) {
  return (await send(url, options)).json();
}

/** Send a request -> its response. Throws a Problem unless it succeeds. */
export async function send(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, UNREACHABLE);
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

export async function problemOf(response) {
  const seconds = Number.parseInt(response.headers.get("Retry-After"), 10);
  const retryAfter = Number.isNaN(seconds) ? null : seconds;
  const document = await response.json().catch(() => null); // a proxy may answer without JSON
  const detail = document?.detail ?? `The service answered with status ${response.status}. Try again in a moment.`;
  return new Problem(response.status, detail, retryAfter, document?.present ?? null);
}
