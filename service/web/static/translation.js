// The translation of the shown caption: a word of either text highlights the other's words, and the photo.
import { getTranslations } from "./api.js";
import { answerAt } from "./caption-view.js";
import { percent } from "./figures.js";
import { EVIDENCE, TRANSLATION } from "./kinds.js";
import { createLanguageChoice } from "./language-choice.js";
import { languageName } from "./language-name.js";
import { markRow, showMatrix } from "./matrix.js";
import { showProblem } from "./problem.js";
import { createWords } from "./words.js";

const MIN_WEIGHT = 0.2; // of a word that is named as the source of another

/** elements: by id, in camel case. captionView: from createCaptionView. say(text): announces it to screen readers. */
export function createTranslation(elements, { captionView, say }) {
  const matrixView = { picture: elements.matrixPicture, table: elements.matrixTable };
  const choice = createLanguageChoice(elements.language, load);
  let entryId = null; // of the shown caption
  let rank = 0;
  let captionWords = []; // with the maps that are shown
  let translations = null; // of each caption of the photo, once loaded
  let words = [];
  let [hovered, pinned] = [-1, -1];
  let request = new AbortController();

  const wordsView = createWords(elements.translationWords, {
    onEnter(index) {
      hovered = index;
      refresh();
    },
    onLeave() {
      hovered = -1;
      refresh();
    },
    onPress(index) {
      pinned = pinned === index ? -1 : index;
      refresh();
    },
  });

  const activeIndex = () => (hovered in words ? hovered : pinned);

  /** Show the active word; the caption view then calls `follow`. */
  function refresh() {
    const active = activeIndex();
    const word = words[active];
    markRow(matrixView.picture, active);
    captionView.showOther(word ? { word, heats: word.weights, pinned: active === pinned } : null);
  }

  function clearWords() {
    words = [];
    [hovered, pinned] = [-1, -1];
    wordsView.clear();
    elements.translationText.textContent = "";
    elements.translationNone.hidden = true;
    elements.matrix.hidden = true;
  }

  function clear() {
    request.abort();
    request = new AbortController();
    translations = null;
    elements.translationLoading.hidden = true;
    showProblem(elements.translationProblem, null);
    clearWords();
    return request.signal;
  }

  /** Load the translations of the captions of the photo, and show that of the shown caption. */
  async function load() {
    const signal = clear();
    captionView.link([]);
    refresh();
    if (entryId === null || choice.value() === "") return;
    elements.translationLoading.hidden = false;
    try {
      translations = await getTranslations(entryId, choice.value(), signal);
    } catch (problem) {
      if (signal.aborted) return;
      elements.translationLoading.hidden = true;
      return void showProblem(elements.translationProblem, problem, { actions: { "Try again": load } });
    }
    elements.translationLoading.hidden = true;
    show();
    say(announcement());
  }

  function show() {
    clearWords();
    if (translations === null) return;
    const translation = translations[rank];
    elements.translationNone.hidden = translation !== null;
    if (translation === null) return;
    words = translation.words.map((word) => translatedWord(word, translation));
    words.forEach(wordsView.add);
    elements.translationText.lang = translation.language;
    elements.translationText.textContent = translation.translation;
    showMatrix(matrixView, {
      words: words.map(({ text }) => text),
      items: { labels: translation.source, noun: "word" },
      weights: words.map(({ weights }) => weights),
    });
    elements.saveMatrix.href = translation.matrix;
    elements.saveMatrix.download = `matrix-${translation.language}.png`;
    elements.matrix.hidden = false;
    captionView.link(linksOf(translation));
  }

  function translatedWord(word, { source, language }) {
    return { ...word, kind: TRANSLATION, lang: language, linked: sourcesOf(word, source), map: mapOf(word) };
  }

  /** The map of a translated word, like those that the words of the caption show. */
  function mapOf({ weights, map }) {
    const isEvidence = captionWords[0]?.kind === EVIDENCE;
    return isEvidence ? weightedMap(weights, captionWords.map((word) => word.map)) : map;
  }

  /** The translation for screen readers; "" if there is none. */
  function announcement() {
    const translation = translations?.[rank];
    if (translation) return `${languageName(translation.language)}: ${translation.translation}`;
    return translations ? elements.translationNone.textContent : "";
  }

  return {
    /** Open the captions of a photo; newWords: of the first one, with their maps. */
    open(id, newWords) {
      [entryId, rank, captionWords] = [id, 0, newWords];
      elements.translation.hidden = !choice.isOffered;
      load();
    },
    /** Show the translation of another caption of the photo, by its index -> a text for screen readers. */
    select(newRank, newWords) {
      [rank, captionWords] = [newRank, newWords];
      show();
      return announcement();
    },
    /** Use the maps that the words of the caption now show. */
    replaceMaps(newWords) {
      captionWords = newWords;
      const translation = translations?.[rank];
      if (!translation) return;
      words = translation.words.map((word) => translatedWord(word, translation));
      refresh();
    },
    close() {
      entryId = null;
      clear();
      elements.translation.hidden = true;
    },
    /** Unpin the pinned word. */
    release() {
      if (activeIndex() < 0) return;
      [hovered, pinned] = [-1, -1];
      refresh();
    },
    /** Highlight the words that belong to what the caption view shows: see createCaptionView. */
    follow({ active, cell }) {
      if (words.length === 0) return;
      const fromWord = active >= 0 ? words.map(({ weights }) => weights[active]) : null;
      wordsView.tint(cell ? answerAt(words, cell).heats : fromWord);
      wordsView.mark(active >= 0 ? -1 : activeIndex(), pinned);
    },
  };
}

/** “from “dog” (92 %)”: the words that a translated word came from. */
function sourcesOf({ weights }, source) {
  const named = weights.map((weight, index) => ({ weight, text: source[index] })).filter(({ weight }) => weight >= MIN_WEIGHT);
  if (named.length === 0) return "from no word in particular";
  named.sort((first, second) => second.weight - first.weight);
  return `from ${named.map(({ weight, text }) => `“${text}” (${percent(weight)})`).join(", ")}`;
}

/** For each word of the caption, a text that names the words it became; "" if there is none. */
function linksOf({ source, words, language }) {
  return source.map((_, index) => {
    const named = words.filter(({ weights }) => weights[index] >= MIN_WEIGHT).map(({ text }) => `“${text}”`);
    return named.length > 0 ? `in ${languageName(language)} ${named.join(", ")}` : "";
  });
}

/** The mean of maps, by their weights: the product of the two attentions. */
function weightedMap(weights, maps) {
  return maps[0].map((row, r) =>
    row.map((_, c) => weights.reduce((sum, weight, index) => sum + weight * maps[index][r][c], 0)),
  );
}
