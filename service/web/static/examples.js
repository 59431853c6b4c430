// The example photos under the invitation.
import { getExampleFile, getExamples } from "./api.js";

/** onPhoto(file, credit); onProblem(problem). */
export async function showExamples({ examples, exampleList, exampleCredits }, { onPhoto, onProblem }) {
  const listed = await getExamples().catch(() => []); // the page is whole without them
  exampleList.replaceChildren(...listed.map((example) => item(example, onPhoto, onProblem)));
  exampleCredits.textContent = `Photos: ${[...new Set(listed.map(credit))].join("; ")}.`;
  examples.hidden = listed.length === 0;
}

function item(example, onPhoto, onProblem) {
  const picture = document.createElement("img");
  picture.src = example.url;
  picture.alt = example.alt;
  picture.draggable = false;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "example";
  button.append(picture);
  button.addEventListener("click", async () => {
    try {
      onPhoto(await getExampleFile(example), `Photo: ${credit(example)}`);
    } catch (problem) {
      onProblem(problem);
    }
  });
  const entry = document.createElement("li");
  entry.append(button);
  return entry;
}

function credit({ author, licence }) {
  return `${author} (${licence})`;
}
