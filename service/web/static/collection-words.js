// The words of the captioner over a photo of the grid: each lights its map, as on the page of a single caption.
import { wordsOf } from "./caption-words.js";
import { element } from "./elements.js";
import { normalise } from "./heat.js";
import { createLocations } from "./locations.js";
import { createWords } from "./words.js";

const DELAY_MS = 120; // so that a pointer on its way across the grid loads nothing

/** cell: the element of the photo; picture: the part of it with the photo. load() -> the words of the API. */
export function createCellWords(number, { cell, picture }, load) {
  const canvas = element("canvas", { className: "cell-heat", hidden: true });
  canvas.setAttribute("aria-hidden", "true");
  const group = element("div", { className: "words cell-words", id: `words-of-${number}`, hidden: true });
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "The words of the captioner: each shows its attention map");
  picture.append(canvas, group);
  let words = [];
  let frame = null; // of the photo: {width, height, seen_box}
  let [active, pinned] = [-1, -1];
  let loading = null; // a promise, from the first time on
  let timer = 0;
  let version = 0; // counts the captions of the photo

  const buttons = createWords(group, {
    onEnter: (index) => mark(index, pinned),
    onLeave: () => mark(-1, pinned),
    onPress: (index) => mark(active, pinned === index ? -1 : index),
  });

  function mark(...marked) {
    [active, pinned] = marked;
    const shown = active >= 0 ? active : pinned;
    buttons.mark(shown, pinned);
    canvas.hidden = shown < 0;
    if (shown < 0) return;
    const map = normalise(words[shown].map);
    createLocations(frame, [map.length, map[0].length], null).showMap(canvas, map.flat());
  }

  async function open() {
    const opened = version;
    loading ??= load();
    try {
      const { alphas, width, height, seen_box, ...caption } = await loading;
      if (opened !== version || words.length > 0) return;
      words = wordsOf({ ...caption, alphas });
      frame = { width, height, seen_box };
      words.forEach(buttons.add);
      group.hidden = words.length === 0;
    } catch {
      loading = null; // the words are an extra: the next pointer or focus tries again
    }
  }

  cell.addEventListener("pointerenter", () => (timer = setTimeout(open, DELAY_MS)));
  cell.addEventListener("pointerleave", () => clearTimeout(timer));
  cell.addEventListener("focusin", open);

  return {
    /** Forget the words: the photo has another caption of the captioner, or none. */
    clear() {
      version += 1;
      [words, loading] = [[], null];
      mark(-1, -1);
      buttons.clear();
      group.hidden = true;
    },
  };
}
