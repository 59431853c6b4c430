"""Rules of a search: which words must not come next in a caption. Ids of words are numpy arrays here."""

import numpy as np

from captioner.config import DecodingOptions
from captioner.text.vocabulary import END, PAD, START, UNKNOWN

NEVER_GENERATED = (PAD, START, UNKNOWN)


def forbidden_words(words: np.ndarray, options: DecodingOptions, nouns: np.ndarray | None = None) -> np.ndarray:
    """Return the ids that must not follow the words of each hypothesis: [B, K, T] -> [B, K, F], some of them repeated.

    The end, which is no noun and no repeat, is only forbidden as the first word and in finished hypotheses.
    nouns: bool [V], words that occur at most once in a caption unless `options.repeat_nouns`.
    """
    batch, width, length = words.shape
    always = NEVER_GENERATED if length else (*NEVER_GENERATED, END)
    forbidden = [np.full((batch, width, len(always)), always)]
    if nouns is not None and not options.repeat_nouns:
        forbidden.append(np.where(nouns[words], words, PAD))
    if options.block_repeats:
        forbidden += [repeated_ngram_endings(words, options.block_repeats), words[:, :, -1:]]
    return np.concatenate(forbidden, axis=-1)


def repeated_ngram_endings(words: np.ndarray, size: int) -> np.ndarray:
    """Return the words that would complete a run of `size` words for the second time.

    [B, K, T] -> [B, K, T - size + 1], one for each run; PAD, which is never generated, where there is none.
    """
    runs = words.shape[-1] - size + 1
    if runs < 1:
        return words[..., :0]
    endings = words[..., size - 1 :]
    repeats = endings != END  # finished hypotheses contain END
    for offset in range(size - 1):  # does the run begin with the words that the caption ends with?
        repeats &= words[..., offset : offset + runs] == words[..., runs + offset, None]
    return np.where(repeats, endings, PAD)
