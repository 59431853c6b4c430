// The line at the foot of the page: which captioner this is, and how it scored.
import { getModel } from "./api.js";

export async function showModel(line) {
  try {
    const { version, scores, words } = await getModel();
    const measured = scores.test ?? scores.validation;
    const parts = [`Captioner ${version}`, `knows ${words.toLocaleString("en")} words`];
    if (typeof measured?.CIDEr === "number") parts.push(`CIDEr ${measured.CIDEr.toFixed(2)}`);
    if (typeof measured?.Bleu_4 === "number") parts.push(`BLEU-4 ${measured.Bleu_4.toFixed(2)}`);
    if (scores.test && measured) parts.push("on photos that it never saw in training");
    line.textContent = parts.join(" · ");
  } catch {
    line.textContent = ""; // the page is whole without it
  }
}
