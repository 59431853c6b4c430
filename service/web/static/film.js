// The words of a caption one after the other, like a film.

const PACE_MS = 950;
const FIRST_PACE_MS = 420; // while the words come in

/**
 * count(): words there are now; show(index): show one, null at the end; onChange(playing).
 * `follow` plays words as they arrive and ends after the last once `complete` was called.
 */
export function createFilm({ count, show, onChange }) {
  let timer = 0;
  let index = -1;
  let pace = PACE_MS;
  let open = false; // more words may come
  let playing = false;

  function step() {
    if (index + 1 < count()) {
      show(++index);
      timer = setTimeout(step, pace);
    } else if (open) {
      timer = setTimeout(step, 40);
    } else {
      stop();
      show(null);
    }
  }

  function start(from, newPace, isOpen) {
    clearTimeout(timer);
    [index, pace, open, playing] = [from - 1, newPace, isOpen, true];
    onChange(true);
    step();
  }

  function stop() {
    clearTimeout(timer);
    if (!playing) return;
    playing = false;
    onChange(false);
  }

  return {
    stop,
    isPlaying: () => playing,
    /** Play from where it was paused, or from the first word. */
    play: () => start(index >= 0 && index + 1 < count() ? index : 0, PACE_MS, false),
    follow: () => start(0, FIRST_PACE_MS, true),
    complete: () => (open = false),
    rewind() {
      stop();
      index = -1;
    },
  };
}
