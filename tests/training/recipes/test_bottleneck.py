"""One command measures what a fixed vector loses on long sentences."""

import json

import pytest

from tests.support.parallel_texts import PAIRS, write_pairs
from training.recipes import bottleneck
from training.translation.parallel_text import read_parallel


@pytest.mark.parametrize(
    ("count", "sources"), [(1, ["a", "b", "c", "d", "e"]), (2, ["a b", "c d"]), (3, ["a b c"]), (6, [])]
)
def test_consecutive_pairs_are_joined(count, sources):
    joined = bottleneck.join_pairs([(letter, letter.upper()) for letter in "abcde"], count)
    assert joined == [(source, source.upper()) for source in sources]


def options_of(data, output, source="en", target="de"):
    names = {"data": data, "output": output, "source": source, "target": target}
    return bottleneck._parser().parse_args(
        [part for name, value in names.items() for part in (f"--{name}", str(value))]
    )


def test_sentences_with_line_breaks_become_lines(tmp_path):
    pairs = [{"en": english.replace(" ", "\r\n", 1), "de": german.replace(" ", "\n\n")} for english, german in PAIRS]
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))
    output = tmp_path / "out"
    output.mkdir()
    bottleneck._prepare_data(options_of(tmp_path, output))
    assert read_parallel(output / "data", "en", "de").split("val") == tuple(PAIRS)


@pytest.mark.parametrize("changed", [{"source": "fr"}, {"target": "fr"}, {"data": "other"}])
def test_data_is_prepared_again_for_other_languages_or_files(tmp_path, changed):
    names = {"data": tmp_path, "output": tmp_path / "out"}
    before, again, after = (
        bottleneck.make_steps(options_of(**values))[0] for values in (names, names, names | changed)
    )
    assert before.name == after.name == "data"
    assert before.arguments == again.arguments != after.arguments


def result(*bleu):
    return {f"group {number}": {"bleu": value, "sentences": 3} for number, value in enumerate(bleu)}


def test_the_table_has_the_mean_and_the_range_of_the_seeds():
    table = bottleneck.table({"attention": [result(30, 20), result(32, 22)], "mean": [result(10.5, 3), result(9.5, 2)]})
    assert "| group 0 | 3 | 31.0 (30.0 to 32.0) | 10.0 (9.5 to 10.5) |" in table
    assert table.count("\n") == 4


def test_the_plot_is_a_picture(tmp_path):
    bottleneck.draw_lengths({"attention": [result(30, 20)], "mean": [result(10, 3)]}, tmp_path / "lengths.png")
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_all_variants_are_trained_and_measured_once(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    write_pairs(data, "train", PAIRS * 2)
    write_pairs(data, "val", [*PAIRS[:6], ("...", "...")])  # the translator cannot read the last one
    tiny = ["--hidden-dim", "8", "--embedding-dim", "8", "--source-hidden-dim", "4", "--source-embedding-dim", "4"]
    tiny += ["--attention-dim", "4", "--source-pieces", "40", "--target-pieces", "40", "--max-words", "5"]
    original = bottleneck.fit_arguments
    monkeypatch.setattr(bottleneck, "fit_arguments", lambda *arguments: [*original(*arguments), *tiny])
    arguments = ["--data", str(data), "--source", "en", "--target", "de", "--output", str(tmp_path / "out")]
    arguments += ["--epochs", "1", "--seeds", "1", "--device", "cpu"]
    assert bottleneck.main(arguments) == 0
    results = json.loads((tmp_path / "out" / "table.json").read_text())
    assert results.keys() == {"attention", "last state", "mean"}
    assert all(group["sentences"] for runs in results.values() for run in runs for group in run.values())
    monkeypatch.setattr(bottleneck, "_measure", lambda *_: pytest.fail("measured again"))
    assert bottleneck.main(arguments) == 0
