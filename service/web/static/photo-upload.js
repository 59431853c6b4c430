// Photos on their way into a collection: chosen, or dropped with their folders, and sent in parts.
import { sendZip } from "./admin.js";
import { Problem } from "./api.js";
import { sendPhotos } from "./collection-api.js";
import { counted } from "./counted.js";

const MAX_FILES = 100; // of one request
const SHARE = 0.9; // of the largest request, for the rest of the form
const PHOTO_NAME = /\.(jpe?g|png|webp|gif|tiff?|bmp|avif|jp2|j2k|heic|heif|jxl|zip)$/i;

/** Whether a file is a photo or a zip by its type or its name. Others may be photos as well. */
const isLikelyPhoto = ({ file, name }) => file.type.startsWith("image/") || PHOTO_NAME.test(name);

/** Open a chooser of photos and one of a folder. onFiles([{file, name}]). */
export function watchChoosers({ choose, chooseFolder, file, folder }, onFiles) {
  for (const [opener, input] of [[choose, file], [chooseFolder, folder]]) {
    opener.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = [...input.files].map((chosen) => ({ file: chosen, name: chosen.webkitRelativePath || chosen.name }));
      input.value = ""; // the same files may be chosen again
      if (files.length > 0) onFiles(files);
    });
  }
}

/** Watch for files and folders dropped anywhere on the page. onFiles([{file, name}]). */
export function watchFolderDrops(onFiles) {
  addEventListener(
    "drop",
    async (event) => {
      const items = [...(event.dataTransfer?.items ?? [])].filter((item) => item.kind === "file");
      if (items.length === 0) return;
      event.preventDefault();
      document.body.classList.remove("dragging");
      const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()); // before the event ends
      const files = (await Promise.all(entries.map((entry) => filesOf(entry)))).flat();
      if (files.length > 0) onFiles(files);
    },
    true,
  );
  addEventListener("dragover", (event) => {
    event.preventDefault(); // otherwise the browser opens the file
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
}

async function filesOf(entry, folder = "") {
  if (entry instanceof File) return [{ file: entry, name: entry.name }];
  if (entry?.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    return file ? [{ file, name: folder + entry.name }] : [];
  }
  if (!entry?.isDirectory) return [];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (entries.length === 0) return found; // it gives a hundred at a time
    found.push(...(await Promise.all(entries.map((inner) => filesOf(inner, `${folder}${entry.name}/`)))).flat());
  }
}

/**
 * Send files to a collection, or to a new one without an id, and show the progress. onPart(document): after each part.
 * Throws a Problem, as well if some files are too large; what was sent stays.
 */
export async function sendAll(id, files, { sending, sendingBar, sendingText }, onPart = () => {}) {
  sending.hidden = false;
  try {
    await sendParts(id, files, {
      onPart,
      onProgress(share, text) {
        sendingBar.value = share;
        sendingText.textContent = text;
      },
    });
  } finally {
    sending.hidden = true;
  }
}

async function sendParts(id, files, { onProgress, onPart }) {
  const maxBytes = Number(document.body.dataset.maxUploadMb) * 1_000_000 * SHARE;
  const total = files.reduce((sum, { file }) => sum + file.size, 0) || 1;
  let document_ = null;
  let sent = 0;
  let refused = null; // the Problem of a part without photos, of which folders may hold many
  const tooLarge = [];
  const [likely, others] = [files.filter(isLikelyPhoto), files.filter((entry) => !isLikelyPhoto(entry))];
  for (const part of [...partsOf(likely, maxBytes), ...partsOf(others, maxBytes)]) {
    const size = part.reduce((sum, { file }) => sum + file.size, 0);
    onProgress(sent / total, `Sending ${counted(files.length, "file")}…`);
    if (size > maxBytes && !/\.zip$/i.test(part[0].name)) {
      tooLarge.push(part[0].name);
    } else if (size > maxBytes) {
      const url = id ? `/api/collections/${id}/photos` : "/api/collections";
      document_ = await sendZip(url, part[0].file, (share) => onProgress((sent + share * size) / total, "Sending the zip…"));
    } else {
      try {
        document_ = await sendPhotos(id, part);
      } catch (problem) {
        if (problem.status !== 422 || isLikelyPhoto(part[0])) throw problem;
        refused ??= problem;
      }
    }
    sent += size;
    if (document_) {
      id = document_.id;
      onPart(document_);
    }
  }
  if (!document_ && refused) throw refused;
  if (!document_) throw new Problem(413, `Each of these files is larger than ${(maxBytes / 1e6).toFixed(0)} MB.`);
  if (tooLarge.length > 0) throw new Problem(413, `Too large and not sent: ${tooLarge.join(", ")}.`);
}

/** Group files into parts that one request can carry; a file that is too large is a part of its own. */
function* partsOf(files, maxBytes) {
  let part = [];
  let bytes = 0;
  for (const entry of files) {
    if (part.length > 0 && (bytes + entry.file.size > maxBytes || part.length >= MAX_FILES)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(entry);
    bytes += entry.file.size;
  }
  if (part.length > 0) yield part;
}
