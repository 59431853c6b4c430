"""Translator: from sentences to translations with their attention matrices."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captioner.captioner import Caption
from captioner.config import DecodingOptions
from captioner.decoding import Hypotheses, decode
from captioner.errors import TextError
from captioner.model.devices import choose_device
from captioner.translation.alignment import merge_pieces, onto_words, through_photo
from captioner.translation.bundle import TranslatorBundle
from captioner.translation.config import MAX_PIECES, max_translated_pieces
from captioner.translation.subwords import Subwords


@dataclass(frozen=True)
class Translation:
    """One translation of one sentence, with the attention of each word.

    `weights[t]` is the attention that led to `words[t]`; every row sums to 1.
    """

    text: str
    """As it is written, with punctuation."""
    words: tuple[str, ...]
    """M whole words and punctuation marks."""
    source_words: tuple[str, ...]
    """N whole words and punctuation marks of the source sentence."""
    weights: np.ndarray
    """[M, N] attention of each word to the words of the source; see `captioner.translation.alignment`."""
    word_log_probs: np.ndarray
    """[M] log-probability of each word given those before it, in nats: the sum over its pieces."""
    log_prob: float
    """Log-probability of the whole translation, its end included, in nats."""
    score: float
    """Score that ranks the translations of one sentence."""

    @property
    def word_probabilities(self) -> np.ndarray:
        """[M] probability of each word given those before it, 0 to 1."""
        return np.exp(self.word_log_probs.astype(float))

    @property
    def probability(self) -> float:
        """Probability of the whole translation, 0 to 1."""
        return math.exp(self.log_prob)


def empty_translation() -> Translation:
    """Return the translation of a text that cannot be translated: without words, of probability 0."""
    return Translation("", (), (), np.zeros((0, 0)), np.zeros(0), -math.inf, -math.inf)


@dataclass(frozen=True)
class TranslatedCaption:
    """A caption of a photo in another language: two attentions in a row."""

    translation: Translation
    """Its `source_words` are the words of the caption."""
    maps: np.ndarray
    """[M, H, W] map of each translated word on the photo: the product of both attentions; every map sums to 1."""


class Translator:
    """Translator of sentences with one bundle. It keeps no state of a sentence, so threads may share it."""

    def __init__(self, bundle: TranslatorBundle, device: torch.device | str | None = None):
        """device: by default a GPU if there is one. Raises ConfigError if it cannot be used."""
        self.bundle = bundle
        self.device = choose_device(device)
        self.model = bundle.model.to(self.device).eval()

    @property
    def decoding(self) -> DecodingOptions:
        """The bundle's decoding options."""
        return self.bundle.decoding

    def translate(
        self,
        texts: Sequence[str],
        options: DecodingOptions | None = None,
        batch_size: int = 32,
        strict: bool = True,
    ) -> list[Translation]:
        """Return the best translation of each sentence. strict: as for `translations`. Raises TextError."""
        options = replace(options or self.decoding, captions_per_image=1)
        return [best for (best,) in self.translations(texts, options, batch_size, strict)]

    def translations(
        self,
        texts: Sequence[str],
        options: DecodingOptions | None = None,
        batch_size: int = 32,
        strict: bool = True,
    ) -> Iterator[list[Translation]]:
        """Yield the `options.captions_per_image` best translations of each sentence, best first.

        strict: whether to raise TextError, as `encode` does, before anything is translated; of several sentences, it
        says which one. If not, a sentence that `encode` refuses gets one translation, `empty_translation`.
        """
        sources = [self._encode(index, texts, strict) for index in range(len(texts))]
        # Sentences of one length share a batch: padding costs time.
        order = sorted(filter(sources.__getitem__, range(len(sources))), key=lambda index: len(sources[index]))
        found = {index: [empty_translation()] for index, source in enumerate(sources) if not source}
        options = options or self.decoding
        for most, group in groupby(order, key=lambda index: max_translated_pieces(len(sources[index]))):
            bounded, similar = replace(options, max_words=min(options.max_words, most)), list(group)
            for start in range(0, len(similar), batch_size):
                indices = similar[start : start + batch_size]
                batch = self._translate(
                    [texts[index] for index in indices], [sources[index] for index in indices], bounded
                )
                found |= dict(zip(indices, batch, strict=True))
        yield from (found[index] for index in range(len(sources)))

    def translate_captions(
        self, captions: Sequence[Caption], options: DecodingOptions | None = None
    ) -> list[TranslatedCaption]:
        """Translate captions of photos. Raises TextError, as `encode` does."""
        results = []
        translations = self.translate([caption.text for caption in captions], options)
        for caption, translation in zip(captions, translations, strict=True):
            weights = onto_words(translation.weights, translation.source_words, caption.words)
            over_caption = replace(translation, source_words=caption.words, weights=weights)
            results.append(TranslatedCaption(over_caption, through_photo(weights, caption.maps)))
        return results

    def encode(self, text: str) -> list[int]:
        """Return the ids of a sentence's pieces.

        Raises TextError if the text is empty, longer than MAX_PIECES, or holds no known word.
        """
        return encode_sentence(text, self.bundle.source, self.bundle.source_language)

    def _encode(self, index: int, texts: Sequence[str], strict: bool) -> list[int]:
        """Return the ids of one of several sentences; none for one that is refused if not strict. Raises TextError."""
        try:
            return self.encode(texts[index])
        except TextError as error:
            if strict:
                raise TextError(f"text {index + 1:,}: {error}" if len(texts) > 1 else str(error)) from error
            return []

    def _translate(
        self, texts: Sequence[str], sources: Sequence[Sequence[int]], options: DecodingOptions
    ) -> list[list[Translation]]:
        """Translate sentences, and their ids, in one batch."""
        tokens = pad_sequence([torch.tensor(source) for source in sources], batch_first=True).to(self.device)
        with torch.inference_mode():
            annotations, padding = self.model.encoder(tokens)
            hypotheses = decode(self.model.decoder, annotations, options, padding=padding)
        words = [self.bundle.source.words(source, text) for text, source in zip(texts, sources, strict=True)]
        return [
            [self._translation(hypotheses, number, rank, read) for rank in _possible(hypotheses, number)]
            for number, read in enumerate(words)
        ]

    def _translation(
        self, hypotheses: Hypotheses, number: int, rank: int, read: Sequence[tuple[str, slice]]
    ) -> Translation:
        """read: the words of the source, with their slices of its pieces."""
        length = int(hypotheses.lengths[number, rank])
        tokens = hypotheses.tokens[number, rank, :length].tolist()
        words = self.bundle.target.words(tokens)
        weights = _piece_weights(hypotheses.alphas[number, rank, :length], read[-1][1].stop)
        log_probs = hypotheses.word_log_probs[number, rank, :length].float().cpu().numpy()
        groups = [group for _, group in words]
        return Translation(
            text=self.bundle.target.decode(tokens),
            words=tuple(word for word, _ in words),
            source_words=tuple(word for word, _ in read),
            weights=merge_pieces(weights, [group for _, group in read], groups),
            word_log_probs=np.add.reduceat(log_probs, [group.start for group in groups]),
            log_prob=float(hypotheses.log_probs[number, rank]),
            score=float(hypotheses.scores[number, rank]),
        )


def encode_sentence(text: str, source: Subwords, language: str) -> list[int]:
    """Return the ids of a sentence's pieces.

    A text in capitals is read in lower case if it has fewer pieces there: "A DOG RUNS", but not "NASA" where this is
    one piece.
    source: pieces of the language to read. language: its code, for errors. Raises TextError, as `Translator.encode`
    does.
    """
    tokens = source.encode(text)
    if text.isupper():
        tokens = min(tokens, source.encode(_lower_case(text)), key=len)
    if not tokens:
        raise TextError("there is no text to translate: give a sentence")
    if len(tokens) > MAX_PIECES:
        raise TextError(
            f"the text is too long: it has {len(tokens):,} pieces of words, and at most {MAX_PIECES} are read at a"
            " time; translate it sentence by sentence"
        )
    if not source.is_readable(tokens):
        raise TextError(
            f"the text has no letter that this translator knows: it reads the language {language!r}; check the language"
            " of the text"
        )
    return tokens


def _lower_case(text: str) -> str:
    """Return a text in lower case; characters whose lower case is longer stay, as words are shown by position."""
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in text)


def can_read(text: str, source: Subwords) -> bool:
    """Return whether a translator with these pieces accepts a text."""
    try:
        encode_sentence(text, source, "")
    except TextError:
        return False
    return True


def _possible(hypotheses: Hypotheses, number: int) -> list[int]:
    """Return the ranks of a sentence's hypotheses, without those that do not exist."""
    return hypotheses.log_probs[number].isfinite().nonzero().flatten().tolist()


def _piece_weights(alphas: Tensor, pieces: int) -> np.ndarray:
    """Return the attention to each piece [T, pieces]; one fixed vector stands for all pieces alike."""
    weights = alphas.float().cpu().numpy()
    return np.repeat(weights / pieces, pieces, axis=1) if weights.shape[1] < pieces else weights[:, :pieces]
