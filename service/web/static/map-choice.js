// The choice of the maps: attention or occlusion maps.
import { getEvidence } from "./api.js";
import { ATTENTION, EVIDENCE } from "./kinds.js";
import { showProblem } from "./problem.js";

const SHOWN = {
  [ATTENTION]: "Each word now shows its attention map.",
  [EVIDENCE]: "Each word now shows its occlusion map.",
};

/**
 * onMaps(kind, maps): show this kind on the words; maps: occlusion maps [T][H][W], or null for attention.
 * say(text): announces it to screen readers.
 */
export function createMapChoice({ mapsAttention, mapsEvidence, mapsLoading, mapsProblem }, { say, onMaps }) {
  const found = new Map(); // rank -> occlusion maps of that caption
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

  /** Load the occlusion maps of the shown caption once, with a loading message. */
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
    /** Open the captions of another photo; null: none. They start with attention. */
    open(id) {
      leave();
      found.clear();
      [entryId, rank] = [id, 1];
      mapsAttention.checked = true;
    },
    /** Select another caption of the photo, by rank from 1, and apply the chosen kind of map to it. */
    select(newRank) {
      leave();
      rank = newRank;
      if (!mapsEvidence.checked) return;
      if (found.has(rank)) onMaps(EVIDENCE, found.get(rank));
      else load();
    },
  };
}
