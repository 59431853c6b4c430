// The choice of the maps: attention or occlusion maps.
import { getEvidence } from "./api.js";
import { ATTENTION, EVIDENCE } from "./kinds.js";
import { showProblem } from "./problem.js";

const MESSAGES = {
  [ATTENTION]: "Each word now shows its attention map.",
  [EVIDENCE]: "Each word now shows its occlusion map.",
};

/**
 * onMaps(kind, maps): show this kind on the words; maps: occlusion maps [T][H][W], or null for attention.
 * say(text): announces it to screen readers.
 */
export function createMapChoice({ mapsAttention, mapsEvidence, mapsLoading, mapsProblem }, { say, onMaps }) {
  const cache = new Map(); // rank -> occlusion maps of that caption
  let entryId = null;
  let rank = 1;
  let request = new AbortController();

  function cancelLoading() {
    request.abort();
    request = new AbortController();
    mapsLoading.hidden = true;
    showProblem(mapsProblem, null);
    return request.signal;
  }

  function show(kind, maps = null) {
    onMaps(kind, maps);
    say(MESSAGES[kind]);
  }

  function fallBack(problem) {
    cancelLoading();
    mapsAttention.checked = true;
    onMaps(ATTENTION, null);
    showProblem(mapsProblem, problem);
  }

  /** Load the occlusion maps of the shown caption once, with a loading message. */
  async function load() {
    const signal = cancelLoading();
    const requestedRank = rank;
    if (!cache.has(requestedRank)) {
      mapsLoading.hidden = false;
      say(mapsLoading.textContent);
      try {
        cache.set(requestedRank, (await getEvidence(entryId, requestedRank, signal)).maps);
      } catch (problem) {
        if (!signal.aborted) fallBack(problem);
        return;
      }
      mapsLoading.hidden = true;
    }
    show(EVIDENCE, cache.get(requestedRank));
  }

  mapsEvidence.addEventListener("change", load);
  mapsAttention.addEventListener("change", () => {
    cancelLoading();
    show(ATTENTION);
  });

  return {
    /** Open the captions of another photo; null: none. They start with attention. */
    open(id) {
      cancelLoading();
      cache.clear();
      [entryId, rank] = [id, 1];
      mapsAttention.checked = true;
    },
    /** Select another caption of the photo, by rank from 1, and apply the chosen kind of map to it. */
    select(newRank) {
      cancelLoading();
      rank = newRank;
      if (!mapsEvidence.checked) return;
      if (cache.has(rank)) onMaps(EVIDENCE, cache.get(rank));
      else load();
    },
  };
}
