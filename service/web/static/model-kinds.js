// What the page says about captioners and photos, and about translators and parallel text.
import { counted } from "./counted.js";

const KINDS = {
  captioner: {
    metrics: ["CIDEr", "METEOR", "Bleu_4"],
    decimals: 3,
    margin: 0.05,
    inUse: "The captioner in use",
    sizeOf: ({ images }) => counted(images, "photo"),
    validating: "Captioning validation photos",
    comparing: "Comparing with the captioner in use",
  },
  translator: {
    metrics: ["BLEU", "chrF"],
    decimals: 1,
    margin: 1,
    inUse: "The translator in use, if there is one",
    sizeOf: ({ sentences }) => counted(sentences, "pair"),
    validating: "Translating validation sentences",
    comparing: "Comparing with the translator in use",
  },
};

/** The words for a model or a training, which has a `kind`. */
export const wordsFor = ({ kind }) => KINDS[kind];

/** The words for the model that a data set trains. */
export const wordsForData = (data) => KINDS[isText(data) ? "translator" : "captioner"];

/** Whether a training on a data set can start from a model. */
export function canStartFrom(model, data) {
  if (!isText(data)) return model.kind === "captioner";
  return model.kind === "translator" && model.source === data.source && model.language === data.target;
}

export const isText = (data) => data?.kind === "parallel_text";

/** The size of a data set, and its languages. */
export function contentsOf(data, withCaptions = true) {
  if (isText(data)) return `${counted(data.pairs, "pair")}, ${data.source} to ${data.target}`;
  const photos = counted(data.images, "photo");
  return withCaptions ? `${photos}, ${counted(data.captions, "caption")}` : photos;
}

/** Scores of a model on new or earlier data: the new value, and the one before, each null if there is none. */
export function scoreOf(model, scores, metric = wordsFor(model).metrics[0]) {
  const text = (value) => (value === undefined ? null : value.toFixed(wordsFor(model).decimals));
  const [after, before] = [scores.new[metric], scores.old?.[metric]];
  return { after: text(after), before: text(before), isBetter: before === undefined || after > before };
}

/** The scores of a model in sentences. */
export function scoreSentences(model) {
  const parts = [];
  for (const [name, suffix] of [["data", "of the new data"], ["replay", "of the earlier data"]]) {
    const scores = model?.scores?.[name];
    if (!scores) continue;
    const texts = wordsFor(model).metrics.map((metric) => {
      const { after, before } = scoreOf(model, scores, metric);
      return `${metric.replace("_", "-")} ${before === null ? after : `${before} → ${after}`}`;
    });
    parts.push(`On ${wordsFor(model).sizeOf(scores).replace(" ", " held-out ")} ${suffix}: ${texts.join(", ")}.`);
  }
  return parts.join(" ");
}
