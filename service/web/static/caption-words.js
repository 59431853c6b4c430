// The words of a caption document with their maps.
import { ATTENTION, EVIDENCE } from "./kinds.js";
import { isJudged } from "./verdict.js";

/** The words of a caption in the streamed form, each with its map. evidence: occlusion maps to use instead. */
export function wordsOf(caption, occlusionMaps = null) {
  const kind = occlusionMaps ? EVIDENCE : ATTENTION;
  const maps = occlusionMaps ?? caption.words.map((word, index) => word.label_map ?? caption.alphas.maps[index]);
  const judged = isJudged(caption);
  return caption.words.map((word, index) => ({ ...word, judged, kind, map: maps[index] }));
}
