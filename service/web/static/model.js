// The footer line with the captioner and its scores, and the help text for its kind of attention.
import { getModel } from "./api.js";
import { counted } from "./counted.js";
import { percent } from "./figures.js";

/** line: the footer line. kinds: help texts; data-attention is the kind of attention that each explains, as used for captions. */
export async function showModel(line, kinds) {
  try {
    const { version, scores, words, attention, decoding } = await getModel();
    const used = attention === "hard" && decoding.hard_context === "expected" ? "soft" : attention;
    for (const kind of kinds) kind.hidden = kind.dataset.attention !== used;
    const splitScores = scores.test ?? scores.validation;
    const parts = [`Captioner ${version}`, `vocabulary of ${counted(words, "word")}`];
    if (typeof splitScores?.CIDEr === "number") parts.push(`CIDEr ${splitScores.CIDEr.toFixed(2)}`);
    if (typeof splitScores?.Bleu_4 === "number") parts.push(`BLEU-4 ${splitScores.Bleu_4.toFixed(2)}`);
    const pointing = splitScores?.pointing ?? scores.validation?.pointing; // boxes may exist for one split only
    if (typeof pointing === "number") parts.push(`pointing ${percent(pointing)}`);
    if (scores.test && splitScores) parts.push("on held-out photos");
    line.textContent = parts.join(" · ");
  } catch {
    line.textContent = ""; // the line is optional
  }
}
