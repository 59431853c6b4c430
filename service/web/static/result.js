// A caption document on the page: its captions, links to save, and correction.
import { wordsOf } from "./caption-words.js";
import { createCorrection } from "./correction.js";
import { button, element } from "./elements.js";
import { percent } from "./figures.js";
import { ATTENTION, EVIDENCE } from "./kinds.js";
import { createMapChoice } from "./map-choice.js";
import { createVerdict, isJudged, WORDINGS } from "./verdict.js";

const LABELS = {
  [ATTENTION]: {
    words: "The words of the caption: each shows its attention map",
    places: "Grid over the photo: move with the arrow keys to hear which words attend there",
  },
  [EVIDENCE]: {
    words: "The words of the caption: each shows its occlusion map",
    places: "Grid over the photo: move with the arrow keys to hear which words depend on it",
  },
};

/**
 * elements: by id, in camel case. captionView: from createCaptionView. translation: from createTranslation.
 * say(text): announces it to screen readers.
 */
export function createResult(elements, { captionView, translation, say, onCorrected }) {
  const correction = createCorrection(elements, { say, onCorrected });
  const mapChoice = createMapChoice(elements, {
    say,
    onMaps(newKind, maps) {
      setKind(newKind);
      const words = wordsOf(currentCaption, maps);
      captionView.replaceMaps(words);
      translation.replaceMaps(words);
    },
  });
  const verdict = createVerdict(elements);
  let labels = []; // of the current photo
  let currentCaption = null; // the caption on the page
  let kind = ATTENTION; // of the maps shown
  let look = null;
  let wordIndex = 0;

  function updateLinks() {
    if (!currentCaption) return;
    const style = look.smooth ? "smooth" : "cells";
    const maps = kind === EVIDENCE ? { maps: EVIDENCE } : {};
    const suffix = kind === EVIDENCE ? "-evidence" : "";
    elements.figure.href = withQuery(currentCaption.figure, { style, ...maps });
    elements.figure.download = `caption-figure${suffix}.png`;
    const word = currentCaption.words[Math.min(wordIndex, currentCaption.words.length - 1)];
    elements.saveOverlay.hidden = !word;
    if (!word) return;
    elements.saveOverlay.href = withQuery(word.overlay, { style, opacity: look.opacity, ...maps });
    elements.saveOverlay.textContent = `Save the map of “${word.text}”`;
    elements.saveOverlay.download = `${word.text}${suffix}.png`;
  }

  function setKind(newKind) {
    kind = newKind;
    elements.words.setAttribute("aria-label", LABELS[kind].words);
    elements.places.setAttribute("aria-label", LABELS[kind].places);
    updateLinks();
  }

  function select(captions, rank) {
    currentCaption = captions[rank];
    wordIndex = 0;
    setKind(ATTENTION); // available without a request
    elements.captionText.textContent = currentCaption.caption;
    elements.stepsLink.search = elements.aboutSteps.search = `?caption=${captions[0].id}&rank=${rank + 1}`;
    verdict.show(currentCaption, labels);
    elements.photoImage.alt = currentCaption.caption || "The photo";
    document.title = `${currentCaption.caption} – Captioner`;
    elements.alternativeList.querySelectorAll("button").forEach((node, index) => {
      node.setAttribute("aria-pressed", String(index === rank));
    });
  }

  function alternativeItem(captions, rank) {
    const choose = () => {
      select(captions, rank);
      const words = wordsOf(captions[rank]);
      captionView.show(words);
      const translated = translation.select(rank, words);
      say([`Caption: ${captions[rank].caption}`, translated].filter(Boolean).join(". "));
      mapChoice.select(rank + 1);
    };
    const text = element("span", {}, captions[rank].caption || "(no words)");
    const { probability, wording } = captions[rank];
    const figure = element("span", { className: "alternative-figure" }, WORDINGS[wording] ?? percent(probability));
    return element("li", {}, button({ className: "alternative" }, choose, text, figure));
  }

  elements.copy.addEventListener("click", async () => {
    const copied = await copyText(currentCaption.caption);
    elements.copy.textContent = copied ? "Copied" : "Select the words to copy them";
    say(elements.copy.textContent);
    setTimeout(() => (elements.copy.textContent = "Copy the caption"), 2000);
  });

  /** Show the warnings: [{kind, message}, …]. */
  function warn(warnings) {
    elements.warnings.replaceChildren(...warnings.map(({ message }) => element("li", {}, message)));
    elements.warnings.hidden = warnings.length === 0;
  }

  return {
    warn,
    /** Show a document. words: also show its words, which a stream has shown otherwise. */
    open(entry, { words }) {
      const captions = [entry, ...entry.alternatives];
      labels = entry.labels ?? [];
      for (const node of elements.about.querySelectorAll("[data-judged]")) {
        node.hidden = node.dataset.judged !== String(isJudged(entry));
      }
      elements.alternativeList.replaceChildren(...captions.map((_, rank) => alternativeItem(captions, rank)));
      elements.alternatives.hidden = captions.length < 2;
      elements.aboutGrid.textContent = `${entry.alphas.rows} × ${entry.alphas.columns}`;
      elements.tools.hidden = false;
      warn(entry.warnings);
      mapChoice.open(entry.id);
      select(captions, 0);
      if (words) captionView.show(wordsOf(captions[0]));
      else if (isJudged(entry)) captionView.replaceMaps(wordsOf(captions[0])); // streamed words have no confidence yet
      translation.open(entry.id, wordsOf(captions[0]));
      correction.open(entry);
    },
    close() {
      mapChoice.open(null);
      translation.close();
      currentCaption = null;
      setKind(ATTENTION);
      elements.tools.hidden = true;
      elements.captionText.textContent = "";
      verdict.clear();
      warn([]);
      correction.close();
      document.title = "Captioner";
    },
    choose(index) {
      wordIndex = index;
      updateLinks();
    },
    setLook(newLook) {
      look = newLook;
      updateLinks();
    },
  };
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
    return false; // no HTTPS, or the user refused
  }
}
