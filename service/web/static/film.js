// Plays the words of a caption one after the other.

const PACE_MS = 950;
const FIRST_PACE_MS = 420; // while words arrive

/**
 * count(): number of words so far; show(index): show one, null at the end; onChange(playing).
 * `follow` plays words as they arrive, and ends after the last word once `complete` was called.
 */
export function createFilm({ count, show, onChange }) {
  let timer = 0;
  let index = -1;
  let pace = PACE_MS;
  let open = false; // more words may arrive
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
    /** Play from the paused word, or from the first. */
    play: () => start(index >= 0 && index + 1 < count() ? index : 0, PACE_MS, false),
    follow: () => start(0, FIRST_PACE_MS, true),
    complete: () => (open = false),
    rewind() {
      stop();
      index = -1;
    },
  };
}
