"""Measure the cost of attention: the time per word against the number of locations and of hypotheses.

The decoder is the shipped one, with its own score and with the paper's additive score, and random weights. Attention
is the query, the scores of all locations, their softmax, and the weighted sum; computations once per photo are not
part of a word's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.lines import fit_line
from benchmarks.our_training import untrained_decoder
from benchmarks.tables import table
from benchmarks.timing import Contestant, Spread, time_in_turns
from captioner.captioner import Captioner
from captioner.model.attention import attend
from captioner.model.decoder import Decoder, DecoderState, ImageFeatures

TITLE = "Cost of attention"


@dataclass(frozen=True)
class Sizes:
    rounds: int = 15
    words: int = 30
    """Words per round."""
    locations: tuple[int, ...] = (49, 100, 196, 400, 784, 1600)
    beam_widths: tuple[int, ...] = (1, 2, 4, 8, 12, 16)
    usual_locations: int = 400
    """While the beam width varies: as in the shipped captioner."""
    usual_beam_width: int = 5
    """While the locations vary."""


QUICK = Sizes(rounds=2, words=2, locations=(4, 9, 16), beam_widths=(1, 2, 3), usual_locations=9, usual_beam_width=2)


@dataclass(frozen=True)
class Row:
    score: str
    places: int
    beam_width: int
    word_us: Spread
    """The decoder's step for one word of all hypotheses, in microseconds."""
    attention_us: Spread
    share: Spread
    """Of attention in that step, 0 to 1, per round."""


@dataclass(frozen=True)
class Line:
    """A straight line fitted to the times by least squares."""

    score: str
    what: str
    """a word or its attention"""
    against: str
    """locations or hypotheses"""
    slope_us: float
    """Per additional location or hypothesis."""
    intercept_us: float
    r_squared: float
    """Share of the variance explained by the line: 1 is a straight line."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    lines: tuple[Line, ...]


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes()
    by_locations = [(locations, sizes.usual_beam_width) for locations in sizes.locations]
    by_width = [(sizes.usual_locations, width) for width in sizes.beam_widths]
    rows: list[Row] = []
    lines: list[Line] = []
    for score in dict.fromkeys((captioner.bundle.config.score, "additive")):
        for against, cases in (("locations", by_locations), ("hypotheses", by_width)):
            case_rows = rows_of(captioner, score, cases, sizes)
            counts = [row.places if against == "locations" else row.beam_width for row in case_rows]
            rows += case_rows
            for what, times in (("a word", "word_us"), ("its attention", "attention_us")):
                medians = [getattr(row, times).median for row in case_rows]
                lines.append(nearest_line(score, what, against, counts, medians))
    return Results(tuple(rows), tuple(lines))


def report(results: Results) -> str:
    rows = [(row.score, row.places, row.beam_width, row.word_us, row.attention_us, row.share) for row in results.rows]
    lines = [
        (line.score, line.what, line.against, line.intercept_us, line.slope_us, f"{line.r_squared:.4f}")
        for line in results.lines
    ]
    headings = ["score", "locations", "beam", "a word, us", "its attention, us", "attention's share"]
    of_lines = ["score", "time of", "against", "intercept, us", "slope, us for one more", "R²"]
    return "\n\n".join((table(headings, rows), "Lines fitted by least squares:", table(of_lines, lines)))


def rows_of(captioner: Captioner, score: str, cases: Sequence[tuple[int, int]], sizes: Sizes) -> list[Row]:
    """cases: numbers of locations and beam widths. All cases take turns."""
    decoder = untrained_decoder(captioner, replace(captioner.bundle.config, score=score)).eval()
    contestants: dict[tuple[int, int, str], Contestant] = {}
    for locations, width in cases:
        word = Word(decoder, locations, width, sizes.words)
        contestants |= {(locations, width, "step"): word.step, (locations, width, "attention"): word.attention}
    seconds = time_in_turns(contestants, sizes.rounds, captioner.device)
    rows = []
    for locations, width in cases:
        step, attention = seconds[locations, width, "step"], seconds[locations, width, "attention"]
        shares = [attention_time / step_time for attention_time, step_time in zip(attention, step, strict=True)]
        scale = 1e6 / sizes.words
        rows.append(
            Row(
                score, locations, width, Spread.of([scale * elapsed for elapsed in step]),
                Spread.of([scale * elapsed for elapsed in attention]), Spread.of(shares),
            )
        )  # fmt: skip
    return rows


class Word:
    """Words of a beam of one photo: whole steps or only their attention, repeated `times` times."""

    def __init__(self, decoder: Decoder, locations: int, beam_width: int, times: int):
        device = decoder.embedding.weight.device
        self._decoder, self._times = decoder, times
        self._tokens = torch.randint(4, decoder.vocabulary_size, (1, beam_width), device=device)
        with torch.inference_mode():
            self._features: ImageFeatures = decoder.prepare(
                torch.randn(1, locations, decoder.annotation_dim, device=device)
            )  # fmt: skip
            self._state: DecoderState = decoder.initial_state(self._features, beam_width)
            self._embedded = decoder.embedding(self._tokens)

    @torch.inference_mode()
    def step(self, _: int) -> None:
        for _ in range(self._times):
            self._decoder.step(self._features, self._state, self._tokens)

    @torch.inference_mode()
    def attention(self, _: int) -> None:
        for _ in range(self._times):
            self.attend()

    def attend(self) -> tuple[Tensor, Tensor]:
        """Return alpha [1, K, L] and context [1, K, D] as the decoder's step computes them before the gate."""
        decoder = self._decoder
        query = decoder.score.query(self._state.hidden)
        if decoder.embedding_to_query is not None:
            query = query + decoder.embedding_to_query(self._embedded)
        return attend(decoder.score(self._features.keys, query), self._features.annotations)


def nearest_line(score: str, what: str, against: str, counts: Sequence[int], microseconds: Sequence[float]) -> Line:
    line = fit_line(counts, microseconds)
    return Line(score, what, against, line.slope, line.intercept, line.r_squared)
