"""Bulk runs write translations in every format, and never mix languages in one output."""

import csv
import json
import re
from pathlib import Path

import pytest

from captioner import load, load_translator
from captioner.translation.serialise import translated_caption_json
from captioner.translation.subwords import Subwords
from tests.support.translators import save_tiny_translator


@pytest.fixture
def german(tmp_path, monkeypatch) -> Path:
    """The folder of a translator that reads every text: the captioner of these tests writes made-up words."""
    monkeypatch.setattr(Subwords, "is_readable", lambda self, tokens: True)
    return save_tiny_translator(tmp_path / "translators")


@pytest.fixture
def expected(bundle, german):
    """Return a function that translates a folder by the library -> file name: (caption, translated caption)."""

    def translate(folder: Path) -> dict[str, tuple]:
        paths = sorted(folder.glob("*.jpg"))
        captions = load(bundle, runtime="exact").caption(paths)
        translated = load_translator(german).translate_captions(captions)
        return {path.name: both for path, *both in zip(paths, captions, translated, strict=True)}

    return translate


def lines(path: Path) -> dict[str, dict]:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {Path(entry["image"]).name: entry for entry in entries}


def test_each_line_has_the_translation_of_its_caption(run, photos, german, expected, tmp_path):
    folder, output = photos(5), tmp_path / "a.jsonl"
    status, err = run(folder, "--output", output, "--language", german, "--batch-size", 2)
    assert status == 0, err
    for name, (caption, translated) in expected(folder).items():
        entry = lines(output)[name]
        assert entry["caption"] == caption.text
        assert entry["translation"] == {
            "language": "de",
            "translation": translated.translation.text,
            "probability": pytest.approx(translated.translation.probability, rel=1e-3),
        }


def test_lines_with_all_details_have_the_weights_of_each_word(run, photos, german, expected, tmp_path):
    folder, output = photos(2), tmp_path / "a.jsonl"
    assert run(folder, "--output", output, "--language", german, "--json", "--captions", 2)[0] == 0
    entries = lines(output)
    for name, (caption, translated) in expected(folder).items():
        found, wanted = entries[name]["translation"], translated_caption_json(translated, "de")
        assert found["source"] == list(caption.words) and found["translation"] == wanted["translation"]
        assert [word["weights"] for word in found["words"]] == [
            pytest.approx(word["weights"], abs=1e-3) for word in wanted["words"]
        ]
        assert entries[name]["alternatives"][0]["translation"]["language"] == "de"


def test_formats_of_one_text_hold_the_translation_and_a_table_holds_both(run, photos, german, expected, tmp_path):
    folder = photos(3)
    captions = expected(folder)
    texts = {name: translated.translation.text for name, (_, translated) in captions.items()}
    assert run(folder, "--output", tmp_path / "a.csv", "--language", german)[0] == 0
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert {name: (row["caption"], row["language"], row["translation"]) for name, row in rows.items()} == {
        name: (caption.text, "de", texts[name]) for name, (caption, _) in captions.items()
    }
    assert run(folder, "--output", tmp_path / "a.json", "--language", german)[0] == 0  # from the entries of a.jsonl
    results = json.loads((tmp_path / "a.json").read_text())
    assert {f"photo-{result['image_id']:06}.jpg": result["caption"] for result in results} == texts
    assert run(folder, "--format", "txt", "--language", german)[0] == 0
    assert {path.with_suffix(".jpg").name: path.read_text() for path in folder.glob("*.txt")} == texts
    assert run(folder, "--format", "html", "--language", german)[0] == 0
    page = (folder / "captions.html").read_text(encoding="utf-8")
    assert page.count('<figure lang="de">') == 3 and all(f'alt="{text}"' in page for text in texts.values())


def test_a_resumed_run_refuses_captions_in_another_language(run, photos, german, tmp_path):
    folder, output = photos(2), tmp_path / "a.jsonl"
    assert run(f"{folder}/photo-000000.jpg", "--output", output, "--language", german)[0] == 0
    before = output.read_bytes()
    french = save_tiny_translator(tmp_path / "translators", "fr")
    for options, wanted in (((), "without a translation"), (("--language", french), "in the language 'fr'")):
        status, err = run(folder, "--output", output, *options)
        assert status == 2 and output.read_bytes() == before
        assert re.search(f"a.jsonl has captions in the language 'de', .* writes captions {wanted}: repeat", err), err
    assert run(folder, "--output", output, "--language", german)[0] == 0  # resumes
    assert len(lines(output)) == 2


def test_an_output_without_translations_is_not_resumed_with_a_language(run, photos, german, tmp_path):
    folder, output = photos(1), tmp_path / "a.jsonl"
    assert run(folder, "--output", output)[0] == 0
    status, err = run(folder, "--output", output, "--language", german)
    assert status == 2 and "a.jsonl has captions without a translation" in err


def test_a_photo_whose_caption_cannot_be_translated_is_listed_with_the_reason(
    run, photos, german, tmp_path, monkeypatch
):
    folder, output = photos(2), tmp_path / "a.jsonl"
    monkeypatch.setattr(Subwords, "is_readable", lambda self, tokens: False)
    status, err = run(folder, "--output", output, "--language", german)
    assert status == 2 and "error: 2 could not be read or translated" in err and not lines(output)
    reasons = lines(output.with_suffix(".unreadable.jsonl"))
    assert all("no letter that this translator knows" in entry["error"] for entry in reasons.values())
    assert len(reasons) == 2
