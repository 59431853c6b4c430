// A caption document on the page: the captions to choose from, what can be kept of it, its correction.
import { createCorrection } from "./correction.js";
import { button, element } from "./elements.js";
import { percent } from "./figures.js";

/** elements: by id, in camel case. telling: from createTelling. say(text): to people who listen to the page. */
export function createResult(elements, { telling, say, onCorrected }) {
  const correction = createCorrection(elements, { say, onCorrected });
  let shown = null; // the caption whose words stand on the page
  let look = null;
  let chosen = 0;

  function links() {
    if (!shown) return;
    const style = look.smooth ? "smooth" : "cells";
    elements.figure.href = withQuery(shown.figure, { style });
    const word = shown.words[Math.min(chosen, shown.words.length - 1)];
    elements.saveOverlay.hidden = !word;
    if (!word) return;
    elements.saveOverlay.href = withQuery(word.overlay, { style, opacity: look.opacity });
    elements.saveOverlay.textContent = `Save the map of “${word.text}”`;
    elements.saveOverlay.download = `${word.text}.png`;
  }

  function select(captions, rank) {
    shown = captions[rank];
    chosen = 0;
    elements.captionText.textContent = shown.caption;
    elements.photoImage.alt = shown.caption || "The photo";
    document.title = `${shown.caption} – Captioner`;
    elements.alternativeList.querySelectorAll("button").forEach((other, index) => {
      other.setAttribute("aria-pressed", String(index === rank));
    });
    links();
  }

  function choice(captions, rank) {
    const choose = () => {
      select(captions, rank);
      telling.show(wordsOf(captions[rank]));
      say(`Caption: ${captions[rank].caption}`);
    };
    const text = element("span", {}, captions[rank].caption || "(no words)");
    const figure = element("span", { className: "alternative-figure" }, percent(captions[rank].probability));
    return element("li", {}, button({ className: "alternative" }, choose, text, figure));
  }

  elements.copy.addEventListener("click", async () => {
    const copied = await copyText(shown.caption);
    elements.copy.textContent = copied ? "Copied" : "Select the words to copy them";
    say(elements.copy.textContent);
    setTimeout(() => (elements.copy.textContent = "Copy the caption"), 2000);
  });

  return {
    /** Show a document. Its words are left to whoever streamed them, unless `words` asks for them. */
    open(entry, { words }) {
      const captions = [entry, ...entry.alternatives];
      elements.alternativeList.replaceChildren(...captions.map((_, rank) => choice(captions, rank)));
      elements.alternatives.hidden = captions.length < 2;
      elements.aboutGrid.textContent = `${entry.alphas.rows} × ${entry.alphas.columns}`;
      elements.tools.hidden = false;
      select(captions, 0);
      if (words) telling.show(wordsOf(captions[0]));
      correction.open(entry);
    },
    close() {
      shown = null;
      elements.tools.hidden = true;
      elements.captionText.textContent = "";
      correction.close();
      document.title = "Captioner";
    },
    choose(index) {
      chosen = index;
      links();
    },
    setLook(newLook) {
      look = newLook;
      links();
    },
  };
}

/** The words of a caption as they are streamed: each with its map. */
function wordsOf(caption) {
  return caption.words.map((word, index) => ({ ...word, map: caption.alphas.maps[index] }));
}

function withQuery(address, values) {
  const url = new URL(address, location.origin);
  for (const name in values) url.searchParams.set(name, values[name]);
  return url.pathname + url.search;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // the page is not served by HTTPS, or the browser asks and the person says no
  }
}
