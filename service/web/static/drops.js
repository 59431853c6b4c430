// Files that are dropped anywhere on the page.

/** act(files) at a drop; while files are dragged over the page, its body has the class `dragging`. */
export function watchDrops(act) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault(); // an element that does not take the entry is passed over until the pointer moves again
    document.body.classList.toggle("dragging", ++depth > 0);
  });
  addEventListener("dragleave", (event) => {
    if (carriesFiles(event)) document.body.classList.toggle("dragging", --depth > 0);
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault(); // else the browser would open the file itself
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dragging");
    act(event.dataTransfer.files);
  });
}

function carriesFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
