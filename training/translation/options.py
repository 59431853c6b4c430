"""Options of training a translator, validated on construction."""

from dataclasses import dataclass

from training.options import LoopOptions


@dataclass(frozen=True)
class TranslatorOptions(LoopOptions):
    """Options of a run that trains a translator."""

    epochs: int = 30
    """Epochs of cross-entropy training."""
    batch_size: int = 64
    """Number of sentence pairs in a batch."""
    learning_rate: float = 2e-3
    patience: int = 8
    """Number of epochs without a better BLEU on the validation pairs after which training ends early."""
    source_pieces: int = 5000
    """Maximum number of pieces of words (byte-pair encoding) of the source language."""
    target_pieces: int = 5000
    """The same of the target language."""
    caption_share: float = 0.3
    """Share of the pairs, drawn each time, to learn in the form of a caption: the source in lower case, without a full
    stop."""
    validation_pairs: int = 0
    """Maximum number of validation pairs, drawn at random, to translate after each epoch; 0 for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_whole(1, "epochs")
        self._require_whole(10, "source_pieces", "target_pieces")
        self._require_whole(0, "validation_pairs")
        self._require("caption_share", self._is_number("caption_share") and 0 <= self.caption_share <= 1, "0 to 1")
