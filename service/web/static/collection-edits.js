// Edits of captions: stored one by one or together, with undo, and without overwriting what others wrote.
import { saveCaption, saveCaptions } from "./collection-api.js";
import { counted } from "./counted.js";

const PART = 5000; // captions of one request

/** photos: number -> document. onChanged(documents). say(text). */
export function createEdits(id, photos, { undo }, { onChanged, say }) {
  const done = []; // {number: caption before} of each edit; null: what the captioner made

  const before = ({ caption, corrected }) => (corrected ? caption : null);

  function remember(edit) {
    done.push(edit);
    undo.disabled = false;
  }

  async function undoLast() {
    const edit = done.at(-1);
    if (!edit) return;
    const changes = [...edit].filter(([number]) => photos.has(number));
    let [undone, kept] = [0, 0];
    for (let start = 0; start < changes.length; start += PART) {
      const captions = changes
        .slice(start, start + PART)
        .map(([number, caption]) => ({ number, caption, version: photos.get(number).version }));
      const { changed, refused } = await saveCaptions(id, captions);
      onChanged([...changed, ...refused], true);
      for (const { number } of captions) edit.delete(number); // after a failure, the rest can be tried again
      [undone, kept] = [undone + changed.length, kept + refused.length];
    }
    done.splice(done.indexOf(edit), 1);
    undo.disabled = done.length === 0;
    if (changes.length === 0) return;
    say(`Undone: ${counted(undone, "caption")}.${kept > 0 ? ` ${counted(kept, "caption")} changed meanwhile and stayed.` : ""}`);
  }

  return {
    /** Store a caption -> the photo. version: of the caption that was edited. Throws a Problem: 409 if it is stale. */
    async save(photo, caption, version) {
      const edit = new Map([[photo.number, before(photo)]]);
      const document_ = await saveCaption(id, { number: photo.number, version }, caption);
      remember(edit);
      onChanged([document_], false);
      return document_;
    },
    /** Remember captions that the service changed together: [{number, ...}] of documents before the change. */
    rememberAll: (documents) => remember(new Map(documents.map((photo) => [photo.number, before(photo)]))),
    undoLast,
  };
}
