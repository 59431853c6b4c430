// Edits of captions: stored one by one or together, with undo, and without overwriting what others wrote.
import { saveCaption, saveCaptions } from "./collection-api.js";
import { counted } from "./counted.js";

/** photos: number -> document. onChanged(documents). say(text). */
export function createEdits(id, photos, { undo }, { onChanged, say }) {
  const done = []; // {number: caption before} of each edit; null: what the captioner made

  const before = ({ caption, corrected }) => (corrected ? caption : null);

  function remember(edit) {
    done.push(edit);
    undo.disabled = false;
  }

  async function undoLast() {
    const edit = done.pop();
    undo.disabled = done.length === 0;
    if (!edit) return;
    const changes = [...edit].filter(([number]) => photos.has(number));
    const captions = changes.map(([number, caption]) => ({ number, caption, version: photos.get(number).version }));
    if (captions.length === 0) return;
    const { changed, refused } = await saveCaptions(id, captions);
    onChanged([...changed, ...refused], true);
    const others = refused.length > 0 ? ` ${counted(refused.length, "caption")} changed meanwhile and stayed.` : "";
    say(`Undone: ${counted(changed.length, "caption")}.${others}`);
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
