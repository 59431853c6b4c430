// The upload of photos into a collection, in parts. It goes on while the page of the collection opens in place of the
// page that began it, so pages listen to `uploads`, and progress is shown on the page that is there at the time.
import { sendZip } from "./admin.js";
import { Problem } from "./api.js";
import { sendPhotos } from "./collection-api.js";
import { counted, timeLeft } from "./counted.js";

const FIRST_FILES = 8; // of a new collection's first request, so that its first captions come soon
const MAX_FILES = 100; // of one request
const SHARE = 0.9; // of the largest request, for the rest of the form
const MAX_NAMED = 5; // files that are left out and named
const REFUSED = [413, 422]; // these files cannot be taken, but others can

/** Dispatches `part` with the answer of the service after each part, and `end` with the outcome. */
export const uploads = new EventTarget();

let stopping = null; // an AbortController while files are sent
let shown = null; // the progress that the page shows
let outcome = null; // {notice, problem}: what people should know of the last upload; null if there is none

export const lastOutcome = () => outcome;

/**
 * Send files to a collection, or to a new one without an id. What was sent stays, whatever ends the upload.
 * Throws a Problem if others are being sent; all other problems are in the outcome.
 */
export async function sendAll(id, files) {
  if (stopping) throw new Problem(0, "Other files are being sent: wait until they are here, then add these.");
  stopping = new AbortController();
  addEventListener("beforeunload", askBeforeLeaving);
  document.addEventListener("click", stopOnClick);
  outcome = null;
  const upload = { id, problems: [], sent: 0, known: 0, leftOut: [], leftOutCount: 0 };
  try {
    await sendParts(upload, files, stopping.signal);
  } catch (problem) {
    upload.problems.push(describe(problem, upload, files.length));
  }
  stopping = null;
  removeEventListener("beforeunload", askBeforeLeaving);
  document.removeEventListener("click", stopOnClick);
  hideProgress();
  const problem = upload.problems.length > 0 ? new Problem(0, upload.problems.join(" ")) : null;
  outcome = { notice: noticeOf(upload), problem };
  uploads.dispatchEvent(new CustomEvent("end", { detail: outcome }));
}

async function sendParts(upload, files, signal) {
  const maxBytes = Number(document.body.dataset.maxUploadMb) * 1_000_000 * SHARE;
  const size = (chosen) => chosen.reduce((sum, { file }) => sum + file.size, 0);
  const [total, startedAt] = [size(files) || 1, performance.now()];
  let sentBytes = 0;
  const progress = (bytes) => {
    shown = { share: bytes / total, sent: upload.sent, total: files.length, startedAt };
    showProgress();
  };
  for (const part of partsOf(photosFirst(files), maxBytes, upload.id ? MAX_FILES : FIRST_FILES)) {
    progress(sentBytes);
    const bytes = size(part);
    const onSent = (share) => progress(sentBytes + share * bytes);
    try {
      signal.throwIfAborted();
      const answer = bytes > maxBytes ? await sendLarge(upload.id, part[0], maxBytes, onSent, signal)
        : await sendPhotos(upload.id, part, signal);
      upload.sent += part.length;
      take(upload, answer);
    } catch (problem) {
      if (!REFUSED.includes(problem.status)) throw problem;
      upload.problems.push(problem.message);
    }
    sentBytes += bytes;
  }
}

/** Send a file that is too large for a form: a zip, with the token. */
async function sendLarge(id, { file, name }, maxBytes, onSent, signal) {
  if (!/\.zip$/i.test(name)) {
    throw new Problem(413, `${name} was not sent: it is larger than ${Math.floor(maxBytes / 1e6)} MB.`);
  }
  return sendZip(id ? `/api/collections/${id}/photos` : "/api/collections", file, onSent, {}, signal);
}

function take(upload, answer) {
  upload.id = answer.id;
  upload.known += answer.known;
  upload.leftOut.push(...answer.left_out);
  upload.leftOutCount += answer.left_out_count;
  uploads.dispatchEvent(new CustomEvent("part", { detail: answer }));
}

/** Photos and zips first, in their order: others are left out, and a collection begins with a photo. */
function photosFirst(files) {
  const isOther = ({ file }) => file.type !== "" && !/^image\/|zip/.test(file.type);
  return [...files.filter((entry) => !isOther(entry)), ...files.filter(isOther)];
}

/** Group files into parts that one request can carry; a file that is too large is a part of its own. */
function* partsOf(files, maxBytes, firstFiles) {
  let part = [];
  let bytes = 0;
  let maxFiles = firstFiles;
  for (const entry of files) {
    if (part.length > 0 && (bytes + entry.file.size > maxBytes || part.length >= maxFiles)) {
      yield part;
      [part, bytes, maxFiles] = [[], 0, MAX_FILES];
    }
    part.push(entry);
    bytes += entry.file.size;
  }
  if (part.length > 0) yield part;
}

// --- What people see

/** Show how far the upload is, if there is one. A page that opens meanwhile calls this. */
export function showProgress() {
  if (!shown) return;
  const { share, sent, total, startedAt } = shown;
  const [sending, text, bar] = ["sending", "sending-text", "sending-bar"].map((id) => document.getElementById(id));
  const seconds = (performance.now() - startedAt) / 1000;
  const left = share > 0 ? ` · ${timeLeft((seconds / share) * (1 - share))}` : "";
  text.textContent = `Sending ${counted(total, "file")}${sent > 0 ? ` · ${sent} sent` : ""}${left}`;
  bar.value = share;
  sending.hidden = false;
}

function hideProgress() {
  shown = null;
  document.getElementById("sending").hidden = true;
}

function stopOnClick(event) {
  if (event.target.closest("#stop-sending")) stopping?.abort();
}

function askBeforeLeaving(event) {
  event.preventDefault(); // the browser asks whether to leave, which ends the upload
}

function describe(problem, { sent, id }, total) {
  const isStopped = problem.name === "AbortError";
  if (!isStopped && !(problem instanceof Problem)) console.error(problem);
  const known = problem instanceof Problem ? problem.message : "The page failed.";
  const reason = isStopped ? "The upload was stopped." : known;
  if (!id) return reason;
  const advice = "To add the rest, send all of them again: those that are here are passed over.";
  return `${reason} ${sent} of ${counted(total, "file")} were sent, and stay. ${advice}`;
}

function noticeOf({ known, leftOut, leftOutCount }) {
  const parts = [];
  if (known > 0) parts.push(`${counted(known, "photo")} ${known === 1 ? "was" : "were"} here already.`);
  if (leftOutCount > 0) {
    const names = leftOut.slice(0, MAX_NAMED).map(({ name, reason }) => `${name} (${reason})`);
    const others = leftOutCount - names.length;
    parts.push(`Left out: ${names.join(", ")}${others > 0 ? ` and ${counted(others, "other file")}` : ""}.`);
  }
  return parts.join(" ");
}
