// The choice of what the words show: where the model looked for each, or what speaks for it.
import { getEvidence } from "./api.js";
import { ATTENTION, EVIDENCE } from "./kinds.js";
import { showProblem } from "./problem.js";

const SHOWN = {
  [ATTENTION]: "Each word now shows where the model looked.",
  [EVIDENCE]: "Each word now shows what speaks for it.",
};

/**
 * onMaps(kind, maps): the words are to show this kind; maps: of evidence, [T][H][W].
 * say(text): to people who listen to the page.
 */
export function createMapChoice({ mapsAttention, mapsEvidence, mapsLoading, mapsProblem }, { say, onMaps }) {
  const found = new Map(); // rank -> the evidence of that caption
  let entryId = null;
  let rank = 1;
  let waiting = new AbortController();

  function leave() {
    waiting.abort();
    waiting = new AbortController();
    mapsLoading.hidden = true;
    showProblem(mapsProblem, null);
    return waiting.signal;
  }

  function show(kind, maps = null) {
    onMaps(kind, maps);
    say(SHOWN[kind]);
  }

  function fallBack(problem) {
    leave();
    mapsAttention.checked = true;
    onMaps(ATTENTION, null);
    showProblem(mapsProblem, problem);
  }

  /** The evidence of the caption that is shown, asked of the service once; until it is there the page says so. */
  async function load() {
    const signal = leave();
    const asked = rank;
    if (!found.has(asked)) {
      mapsLoading.hidden = false;
      say(mapsLoading.textContent);
      try {
        found.set(asked, (await getEvidence(entryId, asked, signal)).maps);
      } catch (problem) {
        if (!signal.aborted) fallBack(problem);
        return;
      }
      mapsLoading.hidden = true;
    }
    show(EVIDENCE, found.get(asked));
  }

  mapsEvidence.addEventListener("change", load);
  mapsAttention.addEventListener("change", () => {
    leave();
    show(ATTENTION);
  });

  return {
    /** Captions of another photo, or with null of none: they begin with where the model looked. */
    open(id) {
      leave();
      found.clear();
      [entryId, rank] = [id, 1];
      mapsAttention.checked = true;
    },
    /** Another caption of the photo, from 1, which shows where the model looked: what was chosen holds for it, too. */
    select(newRank) {
      leave();
      rank = newRank;
      if (!mapsEvidence.checked) return;
      if (found.has(rank)) onMaps(EVIDENCE, found.get(rank));
      else load();
    },
  };
}
