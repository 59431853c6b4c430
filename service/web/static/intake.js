// The ways in which a photo comes to the page: chosen, taken, dropped, pasted.

export function createIntake({ file, camera, choosers, cameraButton }, onPhoto) {
  for (const button of choosers) button.addEventListener("click", () => file.click());
  cameraButton.hidden = navigator.maxTouchPoints === 0; // what is held in a hand has a camera
  cameraButton.addEventListener("click", () => camera.click());
  for (const input of [file, camera]) {
    input.addEventListener("change", () => {
      const [photo] = input.files;
      if (photo) onPhoto(photo);
      input.value = ""; // the same photo may be chosen again
    });
  }

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
    take(event.dataTransfer.files, onPhoto);
  });
  addEventListener("paste", (event) => {
    const writing = event.target.closest?.("input, textarea"); // there a text is meant, even if a picture comes with it
    if (event.clipboardData?.files.length && !writing) {
      event.preventDefault();
      take(event.clipboardData.files, onPhoto);
    }
  });
}

/** Of several files the first picture, or else the first: what it is, the service will tell. */
function take(files, onPhoto) {
  const photo = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
  if (photo) onPhoto(photo);
}

function carriesFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
