"""Options of a translator, validated on construction."""

from dataclasses import dataclass

from captioner.config import DecoderConfig, DecodingOptions
from captioner.errors import ConfigError

TRANSLATOR_ATTENTIONS = ("soft", "none")
SUMMARIES = ("none", "last", "mean")

MAX_PIECES = 400
"""Maximum number of pieces of a sentence to translate."""
MAX_SIZE = 8192
"""Maximum of each size; a damaged bundle may ask for any."""

NOT_OF_TRANSLATORS = ("labels", "projection_dim", "text")
"""Options of a decoder that a translator does not have."""

TRANSLATION = DecodingOptions(max_words=MAX_PIECES, length_penalty=1.0, block_repeats=0)
"""Default options of decoding. Words are pieces here, and a sentence may repeat them."""

LENGTH_STEP = 8
"""Sentences whose numbers of pieces round up to the same multiple of this may be translated in one batch."""


def max_translated_pieces(pieces: int) -> int:
    """Return the maximum number of pieces of a translation, for a sentence with this number of pieces.

    A search that never ends its sentence would otherwise repeat a word until `max_words`. The translations of Multi30k
    have at most 2.8 pieces for each piece of the sentence.
    """
    rounded = -(-pieces // LENGTH_STEP) * LENGTH_STEP
    return 4 * rounded + 20


@dataclass(frozen=True)
class TranslatorConfig(DecoderConfig):
    """Architecture of a translator: a bidirectional LSTM reads the sentence, and the captioner's decoder writes one."""

    attention: str = "soft"
    """Context vector of each word: soft (weighted average of the annotations of all pieces) or none (their mean, the
    same for every word)."""
    query: str = "hidden_word"
    """As for a captioner. With the last word in the query, the map of a word is that of the word itself, not of the
    one before it."""
    gate: str = "off"
    embedding_dim: int = 256
    hidden_dim: int = 384
    attention_dim: int = 256
    dropout: float = 0.3
    tied_output: bool = True
    source_embedding_dim: int = 256
    """Size of the embedding of a piece of the source sentence."""
    source_hidden_dim: int = 256
    """Size of the state of each direction of the encoder; annotations have twice this size."""
    summary: str = "none"
    """Summary of the sentence for the decoder: none (it attends to the annotations of all pieces), or one fixed vector:
    last (the last state of both directions) or mean (the mean of the annotations)."""

    def __post_init__(self) -> None:
        if self.attention == "hard":
            raise ConfigError(
                "attention 'hard' is for captioners: the training of a translator does not sample locations, so hard"
                f" attention would learn nothing; choose {' or '.join(TRANSLATOR_ATTENTIONS)}"
            )
        self._require_one_of(TRANSLATOR_ATTENTIONS, "attention")
        super().__post_init__()
        self._require_one_of(SUMMARIES, "summary")
        self._require_whole(1, "source_embedding_dim", "source_hidden_dim")
        self._require_at_most(
            MAX_SIZE, "source_embedding_dim", "source_hidden_dim", "embedding_dim", "hidden_dim", "attention_dim"
        )
        for name in ("labels", "projection_dim"):
            self._require(name, getattr(self, name) == 0, "0 for a translator")
        self._require("text", self.text is False, "false for a translator")
