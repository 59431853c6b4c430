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
 */
export function createCaptionView({ group, reading, playButton, playLabel }, { viewer, say, onChosen }) {
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  let words = [];
  let [hovered, played, pinned] = [-1, -1, -1]; // the first valid one is shown
  let locationText = ""; // the text of the location that is pointed at

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
    const active = [hovered, played, pinned].find((index) => index >= 0 && index < words.length) ?? -1;
    viewer.showMap(active < 0 ? null : words[active].map, { fades });
    wordsView.mark(active, pinned);
    if (active >= 0) onChosen(active);
    updateReading(active);
  }

  function updateReading(active) {
    if (locationText || active < 0) return void (reading.textContent = locationText || (words.length ? INVITATION : ""));
    const release = pinned === active ? " · pinned" : "";
    reading.replaceChildren(element("strong", {}, words[active].text), ` · ${wordFigures(words[active])}${release}`);
  }

  function clear() {
    film.rewind();
    words = [];
    [hovered, played, pinned, locationText] = [-1, -1, -1, ""];
    wordsView.clear();
    refresh();
  }

  function toggleFilm() {
    if (film.isPlaying()) return film.stop();
    if (words.length === 0) return;
    hovered = -1;
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
      words = newWords;
      wordsView.update(words);
      refresh();
    },
    release() {
      stopFilm();
      [hovered, pinned] = [-1, -1];
      viewer.release();
      refresh();
    },
    /** Highlight the words whose maps cover a cell. For `cell` and `how` see createViewer. */
    highlightAt(cell, how) {
      if (words.length === 0 || (film.isPlaying() && how === "pointer")) return;
      stopFilm();
      const answer = Array.isArray(cell) ? answerAt(words, cell) : { heats: null, text: "" };
      locationText = cell === "unseen" ? "This part of the photo is outside the model’s input." : answer.text;
      wordsView.tint(answer.heats);
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
