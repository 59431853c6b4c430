"""Options of a captioner and of its decoding, validated on construction."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from captioner.errors import ConfigError
from captioner.text.json_values import is_number

DEFAULT_BUNDLE = Path(__file__).parent / "bundles" / "default"
"""Folder of the captioner that ships."""

RUNTIMES = ("auto", "fast", "exact")
"""Names that `choose_runtime` knows; `captioner.model.runtime` says what the two runtimes are."""
MANY_PHOTOS = 100
"""Number of photos from which preparing the fast runtime saves more time than it costs."""
ATTENTIONS = ("soft", "hard", "none")
SCORES = ("additive", "dot", "general")
ACTIVATIONS = ("relu", "tanh")
QUERIES = ("hidden", "hidden_word")
GATES = ("scalar", "vector", "off")
HARD_CONTEXTS = ("likeliest", "expected")
FITS = ("squash", "crop", "pad")
SIDECAR_ENDINGS = {"txt": ".txt", "caption": ".caption"}
"""Format -> extension of its files."""

ON_CONFLICT = ("skip", "keep-copy", "overwrite")
"""Actions for an existing file: keep it, rename it first, or replace it."""

MAX_IMAGE_SIZE = 4096
"""Maximum side of the encoder's square input, pixels."""
MAX_LABELS = 100
"""Maximum number of a photo's labels that a decoder attends to."""
MAX_SEARCH = 1000
"""Maximum number of hypotheses, captions per photo and words per caption; an untrusted bundle may ask for more."""


def choose_runtime(name: str, photos: int | None = None) -> str:
    """Return the runtime that a name stands for, "fast" or "exact". All callers of "auto" follow this one rule.

    "auto" is "exact" for fewer than MANY_PHOTOS photos, and "fast" for more of them or an unknown number: in
    `captioner.load`, in the service, and in runs with --output. photos: number of photos to caption, None if unknown.
    Raises ConfigError if there is no such name.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"there is no runtime {name!r}: take one of {', '.join(RUNTIMES)}")
    if name != "auto":
        return name
    return "fast" if photos is None or photos >= MANY_PHOTOS else "exact"


class JsonOptions:
    """Conversion to and from JSON dictionaries; unknown keys are refused."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        if not isinstance(values, dict):
            raise ConfigError(f"{cls.__name__} is made from options by name, not from {values!r}")
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise ConfigError(f"unknown option {', '.join(unknown)}: {cls.__name__} knows {', '.join(sorted(names))}")
        return cls(**values)

    def _require(self, name: str, allowed: bool, requirement: str) -> None:
        if not allowed:
            raise ConfigError(f"{name} must be {requirement}, not {getattr(self, name)!r}")

    def _is_number(self, name: str) -> bool:
        return is_number(getattr(self, name))

    def _require_whole(self, minimum: int, *names: str) -> None:
        requirement = "a whole number above 0" if minimum == 1 else f"a whole number, {minimum} or above"
        for name in names:
            value = getattr(self, name)
            self._require(name, type(value) is int and value >= minimum, requirement)

    def _require_at_most(self, maximum: int, *names: str) -> None:
        for name in names:
            self._require(name, getattr(self, name) <= maximum, f"at most {maximum}")

    def _require_positive(self, *names: str) -> None:
        for name in names:
            self._require(name, self._is_number(name) and getattr(self, name) > 0, "a number above 0")

    def _require_not_negative(self, *names: str) -> None:
        for name in names:
            self._require(name, self._is_number(name) and getattr(self, name) >= 0, "a number, 0 or above")

    def _require_one_of(self, allowed: tuple[str, ...], name: str) -> None:
        self._require(name, getattr(self, name) in allowed, f"one of {', '.join(allowed)}")

    def _require_share(self, *names: str) -> None:
        for name in names:
            self._require(name, self._is_number(name) and 0 <= getattr(self, name) < 1, "at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(JsonOptions):
    """Architecture of a decoder, whatever it attends to. The letters of sizes are those of Xu et al. 2015."""

    attention: str = "soft"
    """Context vector of each word: soft (weighted average of all locations), hard (one location, Xu et al. 2015,
    section 4.1), or none (the mean of all locations, the same for every word)."""
    score: str = "additive"
    """Attention score of a location and the state: additive, dot or general."""
    activation: str = "relu"
    """Activation of the additive score: relu or tanh."""
    query: str = "hidden"
    """Query of the attention: hidden (the state before the last word, as in the paper) or hidden_word (that and the
    last word)."""
    gate: str = "scalar"
    """Gate of the context vector: scalar (one number per word), vector (one per dimension of the annotations) or off
    (no gate)."""
    deep_output: bool = True
    """Whether words are chosen from the last word, the state and the context (eq. 7), or from the state alone."""
    embedding_dim: int = 512
    """M: size of a word's embedding, and of the deep output layer."""
    hidden_dim: int = 512
    """N: size of the LSTM's hidden state and cell."""
    attention_dim: int = 512
    """A: size of the space in which annotations and hidden state are compared."""
    dropout: float = 0.5
    """Share of units dropped in training, on embeddings, initial state and deep output."""
    labels: int = 0
    """K: number of labels of the encoder's own classifier to attend to as well; their words can be copied. 0: none."""
    tied_output: bool = False
    """Whether the output weights of the words are their embeddings. Needs deep_output."""
    projection_dim: int = 0
    """P: number of dimensions to project annotations to first, which makes a captioner smaller; 0: no projection."""
    text: bool = False
    """Whether it also learns from sentences without photos, with a learned "no photo" vector."""

    def __post_init__(self) -> None:
        self._require_one_of(ATTENTIONS, "attention")
        self._require_one_of(SCORES, "score")
        self._require_one_of(ACTIVATIONS, "activation")
        self._require_one_of(QUERIES, "query")
        self._require_one_of(GATES, "gate")
        for name in ("deep_output", "tied_output", "text"):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        self._require_whole(0, "labels", "projection_dim")
        self._require_at_most(MAX_LABELS, "labels")
        for name in ("labels", "tied_output"):
            if getattr(self, name) and not self.deep_output:
                raise ConfigError(f"{name} needs deep_output, which is off: turn it on, or leave {name} out")
        self._require_whole(1, "embedding_dim", "hidden_dim", "attention_dim")
        self._require_share("dropout")


@dataclass(frozen=True)
class CaptionerConfig(DecoderConfig):
    """Architecture of a captioner: its encoder and its decoder."""

    encoder: str = "efficientnet_lite2"
    """Name of an encoder in `captioner.model.encoders`, or `timm:NAME`."""
    image_size: int = 320
    """Side of the encoder's square input, pixels."""
    fit: str = "crop"
    """How a photo is fitted to that square: squash, crop (its centre) or pad."""
    scales: int = 1
    """1: the encoder's last map. 2: also the finer map before it, with four times as many locations."""

    def __post_init__(self) -> None:
        self._require("encoder", isinstance(self.encoder, str) and bool(self.encoder), "the name of an encoder")
        self._require_one_of(FITS, "fit")
        self._require("scales", type(self.scales) is int and self.scales in (1, 2), "1 or 2")
        super().__post_init__()
        self._require_whole(1, "image_size")
        self._require_at_most(MAX_IMAGE_SIZE, "image_size")


@dataclass(frozen=True)
class DecodingOptions(JsonOptions):
    """Options of decoding. `beam_width` 1 is greedy; `temperature` above 0 samples instead."""

    beam_width: int = 5
    """K: number of hypotheses kept for each photo, or sentence to translate."""
    captions_per_image: int = 1
    """Number of captions to return per image, best first; at most `beam_width` unless sampling."""
    max_words: int = 20
    """Maximum number of words of a caption, or of pieces of words of a translation."""
    length_penalty: float = 0.7
    """Exponent a: finished captions are ranked by log-probability / words ** a."""
    block_repeats: int = 3
    """No run of this many words occurs twice in a caption, and no word directly after itself; 0 allows all repeats."""
    temperature: float = 0.0
    """0: beam search. Above 0, captions are sampled from softmax(logits / temperature)."""
    top_p: float = 1.0
    """Sampling is limited to the most probable words that together reach this probability."""
    seed: int | None = None
    """Seed that makes sampling repeatable."""
    hard_context: str = "likeliest"
    """Context of hard attention: likeliest (the most probable location) or expected (the average, like soft)."""
    repeat_nouns: bool = True
    """Whether a noun may occur twice in a caption. Off avoids English captions like "a kitchen with a kitchen"."""

    def __post_init__(self) -> None:
        self._require_whole(1, "beam_width", "captions_per_image", "max_words")
        self._require_at_most(MAX_SEARCH, "beam_width", "captions_per_image", "max_words")
        self._require_whole(0, "block_repeats")
        self._require_not_negative("length_penalty", "temperature")
        self._require("top_p", self._is_number("top_p") and 0 < self.top_p <= 1, "above 0 and at most 1")
        is_seed = self.seed is None or (type(self.seed) is int and 0 <= self.seed < 2**63)
        self._require("seed", is_seed, "a whole number, 0 or above")
        self._require_one_of(HARD_CONTEXTS, "hard_context")
        self._require("repeat_nouns", isinstance(self.repeat_nouns, bool), "true or false")
        if self.temperature == 0 and self.captions_per_image > self.beam_width:
            raise ConfigError(
                f"captions_per_image ({self.captions_per_image}) is more than beam_width ({self.beam_width}) can find:"
                " widen the beam, or sample with a temperature"
            )
