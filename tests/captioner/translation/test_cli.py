"""`captioner translate`: a line of output for each line of input, and a sentence for each error."""

import io
import json
import sys

import pytest

from captioner.translation.bundle import save_translator
from captioner.translation.cli import translate


@pytest.fixture
def run(tiny_translator, tmp_path, monkeypatch, capsys):
    """Run the command on these bytes as standard input -> exit status, lines of output, lines of errors."""
    save_translator(tiny_translator, tmp_path / "de")

    def run(*arguments, content=b"", device="cpu"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
        status = translate([*arguments, "--to", str(tmp_path / "de"), "--device", device, "--max-words", "9"])
        return status, *(text.splitlines() for text in capsys.readouterr())

    return run


def test_each_text_is_translated(run):
    status, out, err = run("A dog runs.", "Two men ride.")
    assert status == 0 and len(out) == 2 and all(out) and not err
    assert run("-", content=b"A dog runs.\r\nTwo men ride.") == (status, out, err)


def test_blank_lines_give_empty_lines_and_no_error(run):
    status, out, err = run("-", content=b"\nA dog runs.\n  \t\nTwo men ride.\n\n")
    assert status == 0 and [bool(line) for line in out] == [False, True, False, True, False] and not err
    assert [out[1], out[3]] == run("A dog runs.", "Two men ride.")[1]


def test_lines_that_cannot_be_translated_are_reported_by_number_and_the_others_translated(run):
    content = b"\xef\xbb\xbfA dog runs.\nA caf\xe9.\n...\n" + b"dog " * 10_000 + b"\nTwo men ride.\n"
    status, out, err = run("-", content=content)
    assert status == 2 and [bool(line) for line in out] == [True, False, False, False, True]
    assert [out[0], out[4]] == run("A dog runs.", "Two men ride.")[1]
    assert [line.split(":")[:2] for line in err] == [
        ["error", " line 2 is not UTF-8 text"], ["error", " line 3"], ["error", " line 4"],
    ]  # fmt: skip
    assert "reads the language 'en'" in err[1] and "too long" in err[2]


def test_json_has_an_entry_for_each_line(run):
    status, out, _ = run("-", "--json", "--translations", "2", content=b"\nA dog runs.\n")
    empty, full = json.loads("".join(out))
    assert status == 0 and empty == {"source": [], "translation": "", "probability": 0.0, "words": []}
    assert full["source"] == ["A", "dog", "runs", "."] and len(full["alternatives"]) == 1


def test_pictures_are_numbered_like_the_lines(run, tmp_path):
    assert run("-", "--figure", str(tmp_path / "matrix.png"), content=b"A dog.\n\nTwo men.\n")[0] == 0
    assert sorted(file.name for file in tmp_path.glob("*.png")) == ["matrix-1.png", "matrix-3.png"]


def test_a_picture_that_cannot_be_written_costs_no_translation(run, tmp_path):
    status, out, (error,) = run("A dog runs.", "--figure", str(tmp_path / "matrix.docx"))
    assert status == 2 and out == run("A dog runs.")[1] and "--figure" in error


def test_texts_that_are_refused_are_reported_by_number_and_the_others_translated(run):
    status, out, err = run("A dog runs.", "...", "", "Two men ride.")
    assert status == 2 and [bool(line) for line in out] == [True, False, False, True]
    assert [out[0], out[3]] == run("A dog runs.", "Two men ride.")[1]
    assert len(err) == 2 and err[0].startswith("error: text 2: ") and "reads the language 'en'" in err[0]
    assert err[1].startswith("error: text 3: there is no text to translate")


def test_json_has_an_entry_for_each_text_also_if_one_is_refused(run):
    status, out, _ = run("...", "A dog runs.", "--json")
    refused, full = json.loads("".join(out))
    assert status == 2 and refused == {"source": [], "translation": "", "probability": 0.0, "words": []}
    assert full["source"] == ["A", "dog", "runs", "."]


def test_a_device_that_cannot_be_used_is_named(run):
    status, out, (error,) = run("A dog runs.", device="abacus")
    assert status == 2 and not out and "the device abacus cannot be used" in error


def test_the_help_claims_no_default_of_captions(capsys):
    """Those of a translator are in its folder."""
    with pytest.raises(SystemExit):
        translate(["--help"])
    decoding = capsys.readouterr().out.partition("decoding (defaults are the translator's)")[2]
    assert "--max-words" in decoding and "pieces of words of a translation" in " ".join(decoding.split())
    assert "Default" not in decoding
