// The words of one caption and the photo, telling of each other: a word shows its map, that of where it looked or that
// of what speaks for it; a place shows which words have it in theirs.
import { element } from "./elements.js";
import { percent, wordFigures } from "./figures.js";
import { createFilm } from "./film.js";
import { EVIDENCE } from "./kinds.js";
import { createWords } from "./words.js";

const INVITATION = "Point at a word, or at a place in the photo.";

/**
 * viewer: from createViewer. say(text): to people who listen to the page. onChosen(index): the word to save a map of.
 * A word is {text, probability, gate, spread, map}; where its map is evidence, its `kind` says so.
 */
export function createTelling({ group, reading, playButton, playLabel }, { viewer, say, onChosen }) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let words = [];
  let [hovered, played, pinned] = [-1, -1, -1]; // the first of these that is a word is the one that shows
  let asked = ""; // what the place that is pointed at has to tell

  const wordsView = createWords(group, {
    onEnter(index) {
      halt();
      hovered = index;
      refresh();
    },
    onLeave() {
      hovered = -1;
      refresh();
    },
    onPress(index) {
      halt();
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

  function halt() {
    film.stop();
    played = -1;
  }

  function refresh({ fades = false } = {}) {
    const active = [hovered, played, pinned].find((index) => index >= 0 && index < words.length) ?? -1;
    viewer.showMap(active < 0 ? null : words[active].map, { fades });
    wordsView.mark(active, pinned);
    if (active >= 0) onChosen(active);
    tell(active);
  }

  function tell(active) {
    if (asked || active < 0) return void (reading.textContent = asked || (words.length ? INVITATION : ""));
    const release = pinned === active ? " · pinned" : "";
    reading.replaceChildren(element("strong", {}, words[active].text), ` · ${wordFigures(words[active])}${release}`);
  }

  function clear() {
    film.rewind();
    words = [];
    [hovered, played, pinned, asked] = [-1, -1, -1, ""];
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
    /** A word that has just been found. The first starts the film that follows them, unless motion is unwanted. */
    add(word) {
      words.push(word);
      wordsView.add(word);
      if (words.length === 1 && !still.matches) film.follow();
      else if (!film.isPlaying()) refresh();
    },
    complete: film.complete,
    /** All words of a caption at once. */
    show(newWords) {
      clear();
      words = newWords;
      words.forEach(wordsView.add);
      refresh();
    },
    /** The same words with other maps: what is pinned or played stays so. */
    exchange(newWords) {
      viewer.release(); // what a place told of the other maps
      words = newWords;
      wordsView.retell(words);
      refresh();
    },
    release() {
      halt();
      [hovered, pinned] = [-1, -1];
      viewer.release();
      refresh();
    },
    /** Which words looked at a place, or which does it speak for? For `cell` and `how` see createViewer. */
    ask(cell, how) {
      if (words.length === 0 || (film.isPlaying() && how === "pointer")) return;
      halt();
      const answer = Array.isArray(cell) ? answerAt(words, cell) : { heats: null, text: "" };
      asked = cell === "unseen" ? "The model did not see this part of the photo." : answer.text;
      wordsView.tint(answer.heats);
      refresh();
      if (how === "keys") say(asked);
    },
  };
}

/**
 * How warm each word is at a place, 0 to 1, and a sentence. Words are compared with each other: the one with the
 * largest share is the warmest, and fully warm from twice the share that a place would have if all had the same.
 */
export function answerAt(words, [row, column]) {
  const shares = words.map((word) => word.map[row][column]);
  const even = 1 / words[0].map.flat().length;
  const most = Math.max(...shares);
  const warmest = Math.min(1, most / (2 * even));
  const heats = shares.map((share) => (most > 0 ? warmest * (share / most) ** 1.5 : 0)); // the power sets words apart that are near
  const { text: strongest, kind } = words[shares.indexOf(most)];
  return { heats, text: (kind === EVIDENCE ? evidenceAnswer : attentionAnswer)(strongest, most, even) };
}

function attentionAnswer(word, share, even) {
  if (share < even) return "No word looked here much.";
  return `“${word}” looked here most, with ${percent(share)} of its attention.`;
}

function evidenceAnswer(word, share, even) {
  if (share < even) return "This place speaks for no word much.";
  return `This place speaks most for “${word}”, with ${percent(share)} of what speaks for it.`;
}
