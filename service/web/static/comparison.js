// Held-out photos with the captions and attention maps of two captioners, or sentences with two translations.
import { showPicture } from "./admin.js";
import { button, element } from "./elements.js";
import { normalise, paintHeat } from "./heat.js";

const STYLE = { smooth: true, opacity: 0.65 };
const CANVAS_SIDE = 320;

export function showPhotos(list, photos) {
  list.replaceChildren(...photos.map(photoItem));
}

export function showSentences(list, sentences) {
  list.replaceChildren(...sentences.map(sentenceItem));
}

function sentenceItem({ new: after, old: before }) {
  const source = element("p", {}, element("span", { className: "quiet" }, "Sentence: "), after.source.join(" "));
  const translated = (title, { translation }) =>
    element("div", { className: "side" }, element("h4", {}, title), element("p", { lang: "" }, translation || "(empty)"));
  const sides = [...(before ? [translated("Previous", before)] : []), translated("New", after)];
  return element("li", {}, source, element("div", { className: "sides" }, ...sides));
}

function photoItem(photo) {
  const reference = element("p", {}, element("span", { className: "quiet" }, "Reference: "), photo.references[0]);
  const sides = element("div", { className: "sides" }, side("Previous", photo, "old"), side("New", photo, "new"));
  return element("li", {}, reference, sides);
}

function side(title, photo, name) {
  const caption = photo[name];
  const image = element("img", { alt: caption.caption ?? "", width: photo.width, height: photo.height });
  showPicture(image, photo.photo);
  const scale = CANVAS_SIDE / Math.max(photo.width, photo.height);
  const canvas = element("canvas", {
    width: Math.round(photo.width * scale),
    height: Math.round(photo.height * scale),
  });
  canvas.setAttribute("aria-hidden", "true");
  const frame = { width: photo.width, height: photo.height, seen_box: caption.seen_box };
  const words = caption.words.map((word, index) => button({}, () => show(index), word.text));
  function show(index) {
    paintHeat(canvas, normalise(caption.words[index].alpha), frame, STYLE);
    words.forEach((word, wordIndex) => word.setAttribute("aria-pressed", String(wordIndex === index)));
  }
  words.forEach((word, index) => {
    word.addEventListener("pointerenter", () => show(index));
    word.addEventListener("focus", () => show(index));
  });
  // At first, show the word with the highest peak.
  const peaks = caption.words.map(({ alpha }) => Math.max(...alpha.flat()));
  if (words.length) show(peaks.indexOf(Math.max(...peaks)));
  return element(
    "div",
    { className: "side" },
    element("h4", {}, `${title} · CIDEr ${photo.cider[name].toFixed(2)}`),
    element("div", { className: "seen" }, image, canvas),
    element("div", { className: "said", lang: "" }, ...words),
  );
}
