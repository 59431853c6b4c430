// Photo input: choose, take, drop, paste.
import { watchDrops } from "./drops.js";

/** Extensions of photos for which many systems have no MIME type. */
const PHOTO_NAME = /\.(heic|heif|hif|avif|jxl)$/i;

export function createIntake({ file, camera, choosers, cameraButton }, onPhoto) {
  for (const button of choosers) button.addEventListener("click", () => file.click());
  cameraButton.hidden = navigator.maxTouchPoints === 0; // touch devices have a camera
  cameraButton.addEventListener("click", () => camera.click());
  for (const input of [file, camera]) {
    input.addEventListener("change", () => {
      const [photo] = input.files;
      if (photo) onPhoto(photo);
      input.value = ""; // the same photo may be chosen again
    });
  }

  watchDrops((files) => pickPhoto(files, onPhoto));
  addEventListener("paste", (event) => {
    const textField = event.target.closest?.("input, textarea"); // there the text is meant
    if (event.clipboardData?.files.length && !textField) {
      event.preventDefault();
      pickPhoto(event.clipboardData.files, onPhoto);
    }
  });
}

/** Take the first image of several files, or else the first file, which the service then checks. */
function pickPhoto(files, onPhoto) {
  const photo = [...files].find((file) => file.type.startsWith("image/") || PHOTO_NAME.test(file.name)) ?? files[0];
  if (photo) onPhoto(photo);
}
