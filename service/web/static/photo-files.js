// Files that become photos of a collection: chosen, or dropped with their folders.

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

/** Watch for files and folders dropped anywhere on the page, until signal aborts. onFiles([{file, name}]). */
export function watchFolderDrops(onFiles, signal) {
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
    { capture: true, signal },
  );
  const over = (event) => {
    event.preventDefault(); // otherwise the browser opens the file
    document.body.classList.add("dragging");
  };
  const leave = (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  };
  addEventListener("dragover", over, { signal });
  addEventListener("dragleave", leave, { signal });
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
