// Held-out photos with the captions and attention maps of two captioners.
import { showPicture } from "./admin.js";
import { button, element } from "./elements.js";
import { normalised, paintHeat } from "./heat.js";

const LOOK = { smooth: true, opacity: 0.65 };
const CANVAS_SIDE = 320;

export function showPhotos(list, photos) {
  list.replaceChildren(...photos.map(photoItem));
}

function photoItem(photo) {
  const people = element("p", {}, element("span", { className: "quiet" }, "Reference: "), photo.references[0]);
  const sides = element("div", { className: "sides" }, side("Previous", photo, "old"), side("New", photo, "new"));
  return element("li", {}, people, sides);
}

function side(title, photo, which) {
  const said = photo[which];
  const image = element("img", { alt: said.caption ?? "", width: photo.width, height: photo.height });
  showPicture(image, photo.photo);
  const scale = CANVAS_SIDE / Math.max(photo.width, photo.height);
  const canvas = element("canvas", {
    width: Math.round(photo.width * scale),
    height: Math.round(photo.height * scale),
  });
  canvas.setAttribute("aria-hidden", "true");
  const frame = { width: photo.width, height: photo.height, seen_box: said.seen_box };
  const words = said.words.map((word, at) => button({}, () => show(at), word.text));
  function show(at) {
    paintHeat(canvas, normalised(said.words[at].alpha), frame, LOOK);
    words.forEach((word, other) => word.setAttribute("aria-pressed", String(other === at)));
  }
  words.forEach((word, at) => {
    word.addEventListener("pointerenter", () => show(at));
    word.addEventListener("focus", () => show(at));
  });
  // At first, show the word with the highest peak.
  const peaks = said.words.map(({ alpha }) => Math.max(...alpha.flat()));
  if (words.length) show(peaks.indexOf(Math.max(...peaks)));
  return element(
    "div",
    { className: "side" },
    element("h4", {}, `${title} · CIDEr ${photo.cider[which].toFixed(2)}`),
    element("div", { className: "seen" }, image, canvas),
    element("div", { className: "said", lang: "" }, ...words),
  );
}
