// The history of captions, newest first, in pages; each can be opened and deleted.
import { listCaptions } from "./api.js";
import { button, element } from "./elements.js";
import { when } from "./figures.js";
import { showProblem } from "./problem.js";
import { sendAsAdmin } from "./token.js";

const PER_PAGE = 12;

/** say(text): announces it to screen readers. onDeleted(id). */
export function createHistory({ historyList, historyMore, historyEmpty, historyProblem, historyHeading }, actions) {
  const cards = new Map(); // id -> list item
  let total = 0;
  let current = null; // the id of the shown caption

  function show() {
    historyEmpty.hidden = total > 0;
    historyMore.hidden = cards.size >= total;
  }

  /** Load more entries; skip the ones already listed, as pages shift when entries are added or deleted. */
  async function loadMore() {
    showProblem(historyProblem, null);
    try {
      for (let page = Math.floor(cards.size / PER_PAGE) + 1; ; page++) {
        const result = await listCaptions(page, PER_PAGE);
        total = result.total;
        const newEntries = result.captions.filter((entry) => !cards.has(entry.id));
        for (const entry of newEntries) historyList.append(newCard(entry));
        if (newEntries.length > 0 || page >= result.pages) break;
      }
      show();
      return true;
    } catch (problem) {
      showProblem(historyProblem, problem, { actions: { "Try again": loadMore } });
      return false;
    }
  }

  function newCard(entry) {
    const card = cardOf(entry, () => remove(entry.id, card));
    cards.set(entry.id, card);
    markCard(entry.id, card);
    return card;
  }

  function markCard(id, card) {
    const link = card.querySelector("a");
    if (id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }

  async function remove(id, card) {
    try {
      await sendAsAdmin(`/api/captions/${id}`, { method: "DELETE" });
    } catch (problem) {
      if (problem.status !== 404) return void showProblem(historyProblem, problem); // already deleted
    }
    const next = card.nextElementSibling ?? card.previousElementSibling;
    card.remove();
    cards.delete(id);
    total = Math.max(0, total - 1);
    show();
    (next?.querySelector("a") ?? historyHeading).focus();
    actions.say("Deleted.");
    actions.onDeleted(id);
  }

  historyMore.addEventListener("click", async () => {
    const before = cards.size;
    if (await loadMore()) historyList.children[before]?.querySelector("a").focus();
  });

  return {
    load: loadMore,
    /** Add a new entry. */
    add(document) {
      if (cards.has(document.id)) return;
      historyList.prepend(newCard(document));
      total += 1;
      show();
    },
    /** Update an entry whose correction changed. */
    update(document) {
      const text = cards.get(document.id)?.querySelector(".card-text");
      if (text) text.textContent = textOf(document);
    },
    /** Mark the shown entry; null: none. */
    mark(id) {
      current = id;
      for (const [entryId, card] of cards) markCard(entryId, card);
    },
  };
}

function textOf({ caption, correction }) {
  return correction?.text ?? (caption || "(no words)");
}

function cardOf(entry, onDelete) {
  const picture = element("img", { loading: "lazy", src: entry.image.thumbnail, alt: "", draggable: false });
  const text = element("span", { className: "card-text" }, textOf(entry));
  const foot = element("p", { className: "card-foot" });
  showDelete(foot, entry, onDelete);
  return element("li", { className: "card" }, element("a", { href: `#${entry.id}` }, picture, text), foot);
}

function showDelete(foot, entry, onDelete) {
  const time = element("time", { dateTime: entry.created_at }, when(entry.created_at));
  const isGuess = entry.wording === "guess" && !entry.correction;
  const guess = isGuess ? [element("span", {}, "a guess")] : [];
  const deleteButton = smallButton("Delete", `Delete “${textOf(entry)}”`, () => {
    const keepButton = smallButton("Keep", "Keep it", () => {
      showDelete(foot, entry, onDelete);
      foot.querySelector("button").focus();
    });
    const question = element("span", {}, "Delete for good?");
    foot.replaceChildren(question, smallButton("Delete", "Delete it for good", onDelete), keepButton);
    foot.onkeydown = (event) => event.key === "Escape" && (event.stopPropagation(), keepButton.click());
    keepButton.focus();
  });
  foot.onkeydown = null;
  foot.replaceChildren(time, ...guess, deleteButton);
}

function smallButton(text, label, onClick) {
  const node = button({ className: "link small" }, onClick, text);
  node.setAttribute("aria-label", label);
  return node;
}
