// The ways in which a photo comes to the page: chosen, taken, dropped, pasted.
import { watchDrops } from "./drops.js";

/** Photos whose type many systems do not know. */
const PHOTO_NAME = /\.(heic|heif|hif|avif|jxl)$/i;

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

  watchDrops((files) => take(files, onPhoto));
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
  const photo = [...files].find((file) => file.type.startsWith("image/") || PHOTO_NAME.test(file.name)) ?? files[0];
  if (photo) onPhoto(photo);
}
