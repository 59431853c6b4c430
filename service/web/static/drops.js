// Files dropped anywhere on the page.

/** Call onDrop(files) at a drop. While files are dragged over the page, its body has the class `dragging`. */
export function watchDrops(onDrop) {
  let depth = 0; // dragenter and dragleave fire for every element
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault(); // otherwise the element is skipped until the pointer moves again
    document.body.classList.toggle("dragging", ++depth > 0);
  });
  addEventListener("dragleave", (event) => {
    if (carriesFiles(event)) document.body.classList.toggle("dragging", --depth > 0);
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault(); // otherwise the browser opens the file
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dragging");
    onDrop(event.dataTransfer.files);
  });
}

function carriesFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
