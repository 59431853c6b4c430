"""One command measures what a fixed vector loses on long sentences."""

import json

import pytest

from tests.support.parallel_texts import PAIRS, write_pairs
from tests.support.translators import tiny_translator
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
    return {
        f"group {number}": {"bleu": value, "sentences": 3, "cost": 100.0 * number} for number, value in enumerate(bleu)
    }


def test_the_table_has_the_mean_and_the_range_of_the_seeds():
    table = bottleneck.table({"attention": [result(30, 20), result(32, 22)], "mean": [result(10.5, 3), result(9.5, 2)]})
    assert "| group 0 | 3 | 31.0 (30.0 to 32.0) | 10.0 (9.5 to 10.5) | 0 |" in table
    assert "| group 1 | 3 | 21.0 (20.0 to 22.0) | 2.5 (2.0 to 3.0) | 100 |" in table
    assert table.count("\n") == 4


def test_the_plot_is_a_picture(tmp_path):
    runs = {"attention": [result(30, 20)], "mean": [result(10, 3)]}
    bottleneck.draw_lengths({"single": runs, "joined": runs}, tmp_path / "lengths.png")
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_every_plot_shows_all_of_its_points():
    low, high = ({"attention": [result(value, 2)]} for value in (20, 60))
    for results in ({"single": low, "joined": high}, {"single": high, "joined": low}):
        for axes in bottleneck.lengths_figure(results).axes:
            assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] > 60


def test_all_variants_are_trained_and_measured_once(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    write_pairs(data, "train", PAIRS * 2)
    write_pairs(data, "val", [*PAIRS[:6], ("...", "...")])  # the translator cannot read the last one
    tiny = ["--hidden-dim", "8", "--embedding-dim", "8", "--source-hidden-dim", "4", "--source-embedding-dim", "4"]
    tiny += ["--attention-dim", "4", "--source-pieces", "40", "--target-pieces", "40", "--max-words", "5"]
    monkeypatch.setattr(bottleneck, "FEWEST_SENTENCES", 2)
    original = bottleneck.fit_arguments
    monkeypatch.setattr(bottleneck, "fit_arguments", lambda *arguments: [*original(*arguments), *tiny])
    arguments = ["--data", str(data), "--source", "en", "--target", "de", "--output", str(tmp_path / "out")]
    arguments += ["--epochs", "1", "--seeds", "1", "--device", "cpu"]
    assert bottleneck.main(arguments) == 0
    values = json.loads((tmp_path / "out" / "table.json").read_text())
    assert (values["source"], values["target"], values["seeds"]) == ("en", "de", 1)
    results = values["results"]
    assert results.keys() == {"single", "joined"} and results["single"] != results["joined"]
    for variants in results.values():
        assert variants.keys() == {"attention", "last state", "mean"}
        assert all(group["sentences"] for runs in variants.values() for run in runs for group in run.values())
    counts = {kind: sum(group["sentences"] for group in runs["mean"][0].values()) for kind, runs in results.items()}
    assert counts == {"single": 7, "joined": 3 + 2 - 1}  # one joined sentence alone has another length
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.startswith("Single sentences:") and "Two or three sentences joined to one:" in table
    monkeypatch.setattr(bottleneck, "_measure", lambda *_: pytest.fail("measured again"))
    assert bottleneck.main(arguments) == 0


def test_the_cost_is_the_number_of_scores_of_a_sentence():
    attending, fixed = tiny_translator(), tiny_translator(summary="mean")
    sources, translations = ["A dog runs.", "A woman reads a book."], ["Ein Hund.", "Eine Frau liest."]
    pieces = [
        (len(attending.source.encode(source)), len(attending.target.encode(translation)))
        for source, translation in zip(sources, translations, strict=True)
    ]
    costs = bottleneck._costs_by_length(attending, sources, translations)
    assert costs == {"up to 10": pytest.approx(sum(n * m for n, m in pieces) / 2, abs=0.05)}
    costs = bottleneck._costs_by_length(fixed, sources, translations)
    assert costs == {"up to 10": pytest.approx(sum(m for _, m in pieces) / 2, abs=0.05)}


@pytest.mark.parametrize("option", ["--pairs", "--epochs", "--seeds"])
def test_numbers_below_one_are_refused(tmp_path, capsys, option):
    with pytest.raises(SystemExit):
        arguments = ["--data", str(tmp_path), "--source", "en", "--target", "de", "--output", str(tmp_path / "out")]
        bottleneck.main([*arguments, option, "-1"])
    assert f"{option}: must be a whole number above 0, not '-1'" in capsys.readouterr().err
