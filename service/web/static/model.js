// The line at the foot of the page: which captioner this is, and how it scored. And what its maps are.
import { getModel } from "./api.js";
import { counted } from "./counted.js";
import { percent } from "./figures.js";

/** line: of the foot. kinds: elements, each of which says in data-attention of which kind of attention it tells. */
export async function showModel(line, kinds) {
  try {
    const { version, scores, words, attention } = await getModel();
    for (const kind of kinds) kind.hidden = kind.dataset.attention !== attention;
    const measured = scores.test ?? scores.validation;
    const parts = [`Captioner ${version}`, `knows ${counted(words, "word")}`];
    if (typeof measured?.CIDEr === "number") parts.push(`CIDEr ${measured.CIDEr.toFixed(2)}`);
    if (typeof measured?.Bleu_4 === "number") parts.push(`BLEU-4 ${measured.Bleu_4.toFixed(2)}`);
    const pointing = measured?.pointing ?? scores.validation?.pointing; // boxes may be at hand for one split alone
    if (typeof pointing === "number") parts.push(`points at what it names: ${percent(pointing)}`);
    if (scores.test && measured) parts.push("on photos that it never saw in training");
    line.textContent = parts.join(" · ");
  } catch {
    line.textContent = ""; // the page is whole without it
  }
}
