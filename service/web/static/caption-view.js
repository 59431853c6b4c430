// Links the words of a caption with the photo: a word shows its attention or occlusion map, and a location of the photo
// highlights the words whose maps cover it.
import { element } from "./elements.js";
import { percent, wordFigures } from "./figures.js";
import { createFilm } from "./film.js";
import { EVIDENCE } from "./kinds.js";
import { createWords } from "./words.js";

const INVITATION = "Point at a word or at the photo.";

/**
 * viewer: from createViewer. say(text): announces it to screen readers. onChosen(index): the word whose map to save.
 * A word is {text, probability, gate, spread, map, kind}; kind: of the map, attention by default.
 *
 * The words of a translation share the photo and the line below the caption: `showOther` shows one of them, onShown is
 * told which word or location of this caption is shown, and releaseOther() unpins a translated word.
 */
export function createCaptionView(
  { group, reading, playButton, playLabel },
  { viewer, say, onChosen, onShown = () => {}, releaseOther = () => {} },
) {
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  let words = [];
  let [hovered, played, pinned] = [-1, -1, -1]; // the first valid one is shown
  let cell = null; // the location that is pointed at
  let locationText = "";
  let other = null; // the translated word that is shown: {word, heats, pinned}
  let links = []; // for each word, a text that names its translation

  const wordsView = createWords(group, {
    onEnter(index) {
      stopFilm();
      hovered = index;
      refresh();
    },
    onLeave() {
      hovered = -1;
      refresh();
    },
    onPress(index) {
      stopFilm();
      pinned = pinned === index ? -1 : index;
      releaseOther();
      refresh();
    },
  });
  const film = createFilm({
    count: () => words.length,
    show(index) {
      played = index ?? -1;
      refresh({ fades: true });
    },
    onChange(playing) {
      playButton.classList.toggle("playing", playing);
      playLabel.textContent = playing ? "Pause" : "Play";
    },
  });

  function stopFilm() {
    film.stop();
    played = -1;
  }

  function refresh({ fades = false } = {}) {
    const candidates = other ? [hovered] : [hovered, played, pinned];
    const active = candidates.find((index) => index >= 0 && index < words.length) ?? -1;
    const shown = words[active] ?? other?.word;
    viewer.showMap(shown?.map ?? null, { fades });
    wordsView.mark(active, pinned);
    wordsView.tint(locationHeats() ?? (active < 0 && other ? other.heats : null));
    if (active >= 0) onChosen(active);
    updateReading(shown, active < 0 ? other?.pinned : pinned === active);
    onShown({ active, cell });
  }

  function locationHeats() {
    return cell && words.length > 0 ? answerAt(words, cell).heats : null;
  }

  function updateReading(word, isPinned) {
    if (locationText || !word) return void (reading.textContent = locationText || (words.length ? INVITATION : ""));
    const text = element("strong", word.lang ? { lang: word.lang } : {}, word.text);
    reading.replaceChildren(text, ` · ${wordFigures(word)}${isPinned ? " · pinned" : ""}`);
  }

  function withLinks(newWords) {
    return newWords.map((word, index) => ({ ...word, linked: links[index] ?? "" }));
  }

  function clear() {
    film.rewind();
    words = [];
    [hovered, played, pinned, cell, locationText, other, links] = [-1, -1, -1, null, "", null, []];
    wordsView.clear();
    refresh();
  }

  function toggleFilm() {
    if (film.isPlaying()) return film.stop();
    if (words.length === 0) return;
    hovered = -1;
    releaseOther();
    film.play();
  }

  playButton.addEventListener("click", toggleFilm);

  return {
    clear,
    toggleFilm,
    /** Add a streamed word. The first one starts the film, unless the user prefers reduced motion. */
    add(word) {
      words.push(word);
      wordsView.add(word);
      if (words.length === 1 && !reducedMotion.matches) film.follow();
      else if (!film.isPlaying()) refresh();
    },
    complete: film.complete,
    /** Show all words of a caption. */
    show(newWords) {
      clear();
      words = newWords;
      words.forEach(wordsView.add);
      refresh();
    },
    /** Replace the maps of the words; pinning and playing continue. */
    replaceMaps(newWords) {
      viewer.release(); // clears the text of the old maps
      words = withLinks(newWords);
      wordsView.update(words);
      refresh();
    },
    /** Add to each word a text that names its translation; [] removes them. */
    link(newLinks) {
      links = newLinks;
      words = withLinks(words);
      wordsView.update(words);
      refresh();
    },
    /**
     * Show a word of the translation until a word of the caption is pointed at; null: none.
     * heats: of the words of the caption that it came from, 0 to 1; pinned: whether it stays.
     */
    showOther(newOther) {
      other = newOther;
      if (other) {
        stopFilm();
        hovered = -1;
      }
      if (other?.pinned) pinned = -1;
      refresh();
    },
    release() {
      stopFilm();
      releaseOther();
      [hovered, pinned] = [-1, -1];
      viewer.release();
      refresh();
    },
    /** Highlight the words whose maps cover a cell. For `place` (a cell) and `how` see createViewer. */
    highlightAt(place, how) {
      if (words.length === 0 || (film.isPlaying() && how === "pointer")) return;
      stopFilm();
      cell = Array.isArray(place) ? place : null;
      locationText = cell ? answerAt(words, cell).text : "";
      if (place === "unseen") locationText = "This part of the photo is outside the model’s input.";
      refresh();
      if (how === "keys") say(locationText);
    },
  };
}

/**
 * The heat of each word at a location, 0 to 1, and a text. Heat is relative: the word with the largest weight is the
 * warmest, and fully warm from twice the uniform weight.
 */
export function answerAt(words, [row, column]) {
  const shares = words.map((word) => word.map[row][column]);
  const uniform = 1 / words[0].map.flat().length;
  const maxShare = Math.max(...shares);
  const maxHeat = Math.min(1, maxShare / (2 * uniform));
  const heats = shares.map((share) => (maxShare > 0 ? maxHeat * (share / maxShare) ** 1.5 : 0)); // the power separates similar words
  const { text: word, kind } = words[shares.indexOf(maxShare)];
  return { heats, text: (kind === EVIDENCE ? occlusionAnswer : attentionAnswer)(word, maxShare, uniform) };
}

function attentionAnswer(word, share, uniform) {
  if (share < uniform) return "No word has much attention here.";
  return `Most attention here: “${word}”, with ${percent(share)} of its map.`;
}

function occlusionAnswer(word, share, uniform) {
  if (share < uniform) return "No word depends much on this location.";
  return `“${word}” depends most on this location, with ${percent(share)} of its map.`;
}
