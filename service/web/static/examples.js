// The example photos on the start page.
import { getExampleFile, getExamples } from "./api.js";
import { button, element } from "./elements.js";

/** onPhoto(file, credit); onProblem(problem). */
export async function showExamples({ examples, exampleList, exampleCredits }, { onPhoto, onProblem }) {
  const entries = await getExamples().catch(() => []); // examples are optional
  exampleList.replaceChildren(...entries.map((example) => exampleItem(example, onPhoto, onProblem)));
  exampleCredits.textContent = `Photos: ${[...new Set(entries.map(credit))].join("; ")}.`;
  examples.hidden = entries.length === 0;
}

function exampleItem(example, onPhoto, onProblem) {
  const picture = element("img", { src: example.url, alt: example.alt, draggable: false });
  const choose = async () => {
    try {
      onPhoto(await getExampleFile(example), `Photo: ${credit(example)}`);
    } catch (problem) {
      onProblem(problem);
    }
  };
  return element("li", {}, button({ className: "example" }, choose, picture));
}

function credit({ author, licence }) {
  return `${author} (${licence})`;
}
