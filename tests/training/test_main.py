"""The commands of `python -m training`, and the sentence and exit status for each error of the user."""

import errno
import json
import os
import re

import pytest
from PIL import Image

import captioner
from captioner.bundle.bundle import save_bundle
from captioner.config import DecodingOptions
from tests.support.shapes import draw_shapes
from training import captioning, loop
from training.__main__ import main
from training.data import features
from training.evaluation import commands
from training.evaluation.metrics import METRICS, one_meteor

pytestmark = pytest.mark.usefixtures("shared_meteor")


@pytest.fixture
def shapes(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 6, "val": 2, "test": 3})
    return tmp_path / "shapes"


@pytest.fixture
def fit(tmp_path, shapes, three_stages, words_without_java):
    """Run `fit` with tiny options and these; return the exit status."""

    def fit(*more, data=shapes, output=tmp_path / "run", min_count="1"):
        return main([
            "fit", "--data", str(data), "--output", str(output), "--cache", str(tmp_path / "cache"),
            "--encoder", "three-stages", "--encoder-weights", str(three_stages), "--image-size", "64",
            "--embedding-dim", "8", "--hidden-dim", "8", "--attention-dim", "8", "--device", "cpu",
            "--batch-size", "3", "--epochs", "1", *(["--min-count", min_count] if min_count else []), *more,
        ])  # fmt: skip

    return fit


def error_of(capsys):
    """Return the one sentence on standard error."""
    output = capsys.readouterr().err.strip()
    assert "Traceback" not in output
    assert output.count("\n") == 0 and output.startswith("error: ")
    return output


@pytest.mark.parametrize("arguments", [[], ["teach"], ["fit"], ["inspect"], ["fit", "--data", "x", "--epochs", "two"]])
def test_an_invalid_command_line_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: python -m training" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "fit", "evaluate"])
def test_every_option_is_documented(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert "--data" in capsys.readouterr().out


def test_inspect_prints_the_content_of_a_data_set(shapes, capsys):
    assert main(["inspect", "--data", str(shapes)]) == 0
    text = capsys.readouterr().out
    assert "train" in text and "11" in text
    (shapes / "train0001.png").write_bytes(b"no photo")
    assert main(["inspect", "--data", str(shapes), "--json"]) == 0
    assert "train0001.png" in json.dumps(json.loads(capsys.readouterr().out))


def test_inspect_reports_several_data_sets_together(shapes, tmp_path, capsys):
    draw_shapes(tmp_path / "more", {"train": 3, "val": 2}, seed=4)
    os.replace(shapes / "val0000.png", tmp_path / "more" / "train0000.png")
    (shapes / "val0000.png").write_bytes((tmp_path / "more" / "train0000.png").read_bytes())
    arguments = ["inspect", "--data", str(shapes), "--also", str(tmp_path / "more")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    together = text[text.index("Together: shapes, more") :]
    assert "shapes: table format" in text and "more: table format" in text
    assert "train              9           9" in together and "total             16" in together
    assert "Training images that another data set evaluates on: 1" in together
    assert "shapes: val0000.png (val) = more: train0000.png (train)" in together
    assert main([*arguments, "--json", "--most", "0"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["name"] == "shapes" and [also["name"] for also in values["also"]] == ["more"]
    assert values["also"][0]["usable"] and values["together"]["total"]["images"] == 16
    assert values["together"]["counts"] == {"shared": 1, "leaks": 1} and values["together"]["shared"] == []
    assert main([*arguments, "--no-photos"]) == 0
    assert "another data set" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["inspect", "fit", "evaluate"])
def test_a_missing_data_set_is_named(command, tmp_path, capsys, tiny_bundle):
    more = {"inspect": [], "fit": ["--output", str(tmp_path / "out")], "evaluate": ["--output", str(tmp_path / "out")]}
    if command == "evaluate":
        save_bundle(tiny_bundle, tmp_path / "bundle")
        more["evaluate"] += ["--bundle", str(tmp_path / "bundle")]
    assert main([command, "--data", str(tmp_path / "nowhere"), *more[command]]) == 2
    assert "nowhere does not exist: give the folder or the caption file" in error_of(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learning-rate", "-1"], "learning_rate must be a number above 0, not -1.0"),
        (["--encoder", "resnet5"], "there is no encoder 'resnet5'"),
        (["--beam-width", "0"], "beam_width must be a whole number above 0, not 0"),
        (["--fine-tune-epochs", "2"], "fine_tune_epochs needs fine_tune_stages"),
        (["--fit", "stretch"], "fit must be one of squash, crop, pad, not 'stretch'"),
        (["--epochs", "0"], "there is nothing to do"),
        (["--encoder-weights", "nowhere.pth"], "nowhere.pth does not exist"),
        (["--resume"], "there is no run to resume"),
        (["--device", "abacus"], "the device abacus cannot be used"),
        (["--min-count", "99"], "no word of .* occurs 99 times"),
    ],
)
def test_fit_refuses_invalid_options_in_one_sentence(fit, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was encoded first"))
    assert fit(*options) == 2
    assert re.search(message, error_of(capsys))
    assert not (tmp_path / "run").exists()


def test_fit_makes_a_captioner_that_decodes_as_it_was_validated(fit, tmp_path, capsys):
    assert fit("--beam-width", "1", "--max-words", "7", "--captions-per-image", "2", "--seed", "4") == 0
    assert f"the captioner is in {tmp_path / 'run' / 'bundle'}" in capsys.readouterr().out
    bundle = captioner.load(tmp_path / "run" / "bundle", "cpu")
    # --captions-per-image and --seed are options of training.
    assert bundle.decoding == DecodingOptions(beam_width=1, max_words=7, captions_per_image=1, seed=None)
    options = bundle.bundle.metrics["options"]
    assert options["captions_per_image"] == 2 and options["seed"] == 4


def test_fit_refuses_a_folder_that_holds_a_run(fit, capsys, monkeypatch):
    assert fit() == 0
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was encoded first"))
    capsys.readouterr()
    assert fit("--image-size", "96") == 2
    assert "holds a run already: resume it with --resume, or name another --output" in error_of(capsys)
    assert fit("--resume") == 0
    assert "there is nothing left to do" in "".join(capsys.readouterr())


def test_a_resumed_run_keeps_its_options_unless_others_are_given(fit, tmp_path, capsys):
    assert fit("--epochs", "1", "--seed", "4", "--label-smoothing", "0.2", "--beam-width", "1", "--dropout", "0.3") == 0
    run = tmp_path / "run"
    arguments = ["fit", "--data", str(tmp_path / "shapes"), "--output", str(run), "--cache", str(tmp_path / "cache")]
    arguments += ["--encoder-weights", str(tmp_path / "three-stages.safetensors"), "--device", "cpu", "--resume"]
    assert main([*arguments, "--check"]) == 0
    output = capsys.readouterr().out
    options = json.loads(output[output.rindex("\n{") :])
    assert (options["seed"], options["label_smoothing"], options["min_count"]) == (4, 0.2, 1)
    assert main([*arguments, "--epochs", "2", "--dropout", "0.1"]) == 0
    output = "".join(capsys.readouterr())
    assert re.findall("resumed with (.*) instead", output) == ["epochs 2", "dropout 0.1"]
    bundle = captioner.load(run / "bundle", "cpu")
    assert len((run / "log.jsonl").read_text().splitlines()) == 2
    assert bundle.decoding.beam_width == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-size", "96"], "image_size 64, not 96: .*; resume without --image-size, or start a new run"),
        (["--beam-width", "7"], "beam_width .*, not 7: .*; resume without --beam-width"),
        (["--seed", "3"], "seed 0, not 3: it drew .*; resume without --seed"),
        (["--min-count", "2"], "min_count 1, not 2: it selected the words"),
    ],
)
def test_a_fixed_option_is_refused_before_photos_are_encoded(fit, capsys, monkeypatch, options, message):
    assert fit("--epochs", "1") == 0
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was encoded first"))
    capsys.readouterr()
    assert fit("--epochs", "2", "--resume", *options) == 2
    assert re.search(message, error_of(capsys))


def test_fit_counts_the_problems_of_the_data(fit, shapes, capsys):
    with open(shapes / "captions.csv", "a") as table:
        table.write("nowhere.png,a photo that is not there,train\n")
    assert fit() == 0
    output = capsys.readouterr().err
    assert "1 caption not used: 1 of photos that are missing. 1 problem in " in output


def test_fit_keeps_every_word_of_few_photos_and_reports_it(fit, tmp_path, capsys):
    assert fit(min_count=None) == 0
    output = capsys.readouterr().err
    bundle = captioner.load(tmp_path / "run" / "bundle", "cpu").bundle
    assert bundle.metrics["options"]["min_count"] == 1 and "warning" not in output
    assert f"vocabulary: {len(bundle.vocabulary) - 4} words in the training captions, none of them unknown" in output


def test_fit_warns_at_start_and_end_if_too_many_words_are_unknown(fit, capsys):
    assert fit("--min-count", "6") == 0
    output = capsys.readouterr().err
    assert re.search(r"vocabulary: \d+ of \d+ words unknown with --min-count 6, \d.* % of all running words", output)
    assert output.count("warning: Too many words will be unknown: --min-count 6 keeps") == 2
    assert output.rstrip().endswith("Lower --min-count, or add captions.")


def test_check_prints_the_minimum_count_and_the_words_it_leaves_out(shapes, tmp_path, bundle, capsys):
    arguments = ["fit", "--data", str(shapes), "--output", str(tmp_path / "run"), "--check"]
    for more, min_count in (([], 1), (["--from-bundle", bundle], 1), (["--min-count", "6"], 6)):
        assert main([*arguments, *more]) == 0
        output = capsys.readouterr()
        assert json.loads(output.out)["min_count"] == min_count
        assert "vocabulary: " in output.err and ("warning: " in output.err) == (min_count == 6)


def test_fit_trains_on_several_data_sets(fit, tmp_path, capsys):
    draw_shapes(tmp_path / "more", {"train": 3, "val": 2}, seed=4)
    with open(tmp_path / "more" / "captions.csv", "a") as table:
        table.write("nowhere.png,a photo that is not there,train\n")
    also = ["--also", str(tmp_path / "more")]
    assert fit(*also, "--balance", "0", "--check") == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["balance"] == 0
    assert "data: shapes 6 photos, 55.6% of an epoch; more 3 photos, 44.4% of an epoch" in output.err
    assert "1 of photos that are missing" in output.err
    assert fit(*also) == 0
    output = capsys.readouterr().err
    assert "data: shapes 6 photos, " in output and "1 of photos that are missing" in output
    assert captioner.load(tmp_path / "run" / "bundle", "cpu").bundle.metrics["data"] == "shapes + more"
    assert fit("--resume", "--epochs", "2") == 2
    assert "a run with other data sets beside --data (--also)" in capsys.readouterr().err
    assert fit(*also, "--resume", "--epochs", "2") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--also", "nowhere"], "nowhere does not exist"),
        (["--also", "DATA"], "--also names .*shapes a second time: name each data set once"),
        (["--balance", "1.5"], "balance must be 0 to 1, not 1.5"),
    ],
)
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_fit_refuses_invalid_data_sets_in_one_sentence(fit, shapes, tmp_path, capsys, options, message, check):
    assert fit(*(str(shapes) if option == "DATA" else option for option in options), *check) == 2
    assert re.search(message, error_of(capsys))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def sentences(tmp_path):
    (tmp_path / "mine.txt").write_text("a zebra stands there\n\na zebra and a red circle\n...\n" * 10)
    return str(tmp_path / "mine.txt")


ADDED = {"zebra", "stands", "there", "and"}
"""Words in no caption; zebra occurs 20 times, the others 10 times."""
SENTENCES_MESSAGE = (
    "left out of .*mine.txt: 10 empty lines; 10 lines without a word .*\nsentences without photos: 20 of mine.txt\n"
)


def test_fit_trains_on_sentences_and_resumes_with_the_same(fit, tmp_path, capsys, sentences):
    text = ["--sentences", sentences, "--sentences-per-batch", "4"]
    assert fit(*text) == 0
    output = capsys.readouterr().err
    assert re.search(SENTENCES_MESSAGE, output) and f"vocabulary: {len(ADDED)} more words" in output
    bundle = captioner.load(tmp_path / "run" / "bundle", "cpu").bundle
    assert bundle.model.config.text and ADDED <= set(bundle.vocabulary.words)
    assert bundle.metrics["options"]["sentence_min_count"] == 2
    assert fit("--epochs", "2", *text, "--resume") == 0
    capsys.readouterr()
    assert fit("--epochs", "3", "--resume") == 2
    assert re.search(r"is of a run with other sentences, or none \(--sentences\): resume with", error_of(capsys))


def test_a_run_without_sentences_is_not_resumed_with_them(fit, capsys, sentences, monkeypatch):
    assert fit() == 0
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was encoded first"))
    capsys.readouterr()
    assert fit("--epochs", "2", "--resume", "--sentences", sentences) == 2
    assert "is of a run with other sentences, or none (--sentences)" in error_of(capsys)


def test_check_counts_sentences_and_the_words_that_they_add(fit, capsys, sentences):
    assert fit("--check", "--sentences", sentences) == 0
    output = capsys.readouterr()
    assert re.search(SENTENCES_MESSAGE, output.err)
    assert f"vocabulary: {len(ADDED)} more words from the sentences" in output.err
    options = json.loads(output.out)
    assert (options["sentences_per_batch"], options["sentence_min_count"]) == (160, 2)
    assert fit("--check", "--sentences", sentences, "--sentence-min-count", "11") == 0
    assert "vocabulary: 1 more word from the sentences" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.txt", None, "nowhere.txt cannot be read: No such file"),
        ("a.txt", b"", "a.txt holds no sentence: write one on each line"),
        ("a.json", b"[]", "a.json does not have a text file's name"),
        ("a.txt", "der Löwe".encode("latin-1"), "a.txt is not UTF-8 text"),
        ("a.txt", b"nobody knows this\n", "most words of every sentence of a.txt are unknown: lower --sentence-min"),
    ],
)
def test_unusable_sentence_files_are_refused(fit, tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert fit("--sentences", str(tmp_path / name)) == 2
    assert re.search(f"^error: .*{message}", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize("stop", [loop.Interrupted("stopped as asked: go on with --resume"), KeyboardInterrupt()])
def test_a_stopped_run_exits_with_a_message_and_no_traceback(fit, monkeypatch, capsys, stop):
    def interrupt(*arguments):
        raise stop

    monkeypatch.setattr(captioning, "fit", interrupt)
    assert fit() == 130
    output = capsys.readouterr().err
    assert "stopped" in output and "Traceback" not in output


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / "bundle")
    return str(tmp_path / "bundle")


@pytest.mark.stress
def test_evaluate_writes_the_official_scores_and_results(bundle, shapes, tmp_path, capsys):
    from pycocotools.coco import COCO

    output = tmp_path / "evaluation"
    arguments = ["--bundle", bundle, "--data", str(shapes), "--output", str(output), "--beam-width", "2"]
    assert main(["evaluate", *arguments, "--device", "cpu"]) == 0
    metrics = json.loads((output / "metrics.json").read_text())
    printed = capsys.readouterr().out
    for name in METRICS:
        assert 0 <= metrics[name] <= 10
        assert f"{name:8} {metrics[name]:.4f}" in printed
    assert "3 captions have a noun that no person used" in printed
    assert metrics["split"] == "test" and metrics["images"] == 3
    assert metrics["decoding"]["beam_width"] == 2 and metrics["decoding"]["max_words"] == 8  # the bundle's options
    assert "<html" in (output / "index.html").read_text()

    truth = COCO()
    names = [f"test000{number}.png" for number in range(3)]
    truth.dataset = {"images": [{"id": name} for name in names], "annotations": []}
    truth.createIndex()
    results = truth.loadRes(str(output / "results.json"))
    assert sorted(results.getImgIds()) == names
    captions_by_id = {entry["image_id"]: entry["caption"] for entry in results.loadAnns(results.getAnnIds())}
    captions = captioner.load(bundle, "cpu").caption(
        [shapes / name for name in names], DecodingOptions(beam_width=2, max_words=8)
    )
    assert [captions_by_id[name] for name in names] == [caption.text for caption in captions]


@pytest.mark.stress
def test_evaluate_with_boxes_measures_where_the_maps_point(bundle, shapes, tmp_path, capsys):
    names = [f"test000{number}.png" for number in range(3)]
    instances = {
        "images": [{"id": n, "file_name": name, "width": 192, "height": 144} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "circle"}, {"id": 2, "name": "square"}, {"id": 3, "name": "triangle"}],
        "annotations": [
            {"id": 3 * n + kind, "image_id": n, "category_id": kind, "bbox": [0, 0, 192, 72], "iscrowd": 0, "area": 1}
            for n in range(3)
            for kind in (1, 2, 3)
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(instances))
    output = tmp_path / "evaluation"
    arguments = ["--bundle", bundle, "--data", str(shapes), "--output", str(output), "--beam-width", "1"]
    assert main(["evaluate", *arguments, "--device", "cpu", "--boxes", str(tmp_path / "boxes.json")]) == 0
    grounding = json.loads((output / "metrics.json").read_text())["grounding"]
    assert grounding["references"]["phrases"] == grounding["counts"]["references"]["boxed phrases measured"] > 3
    assert grounding["references"]["uniform"] == {"attention_correctness": 0.5, "pointing": 0.5}  # the upper half
    head = grounding["references"]["head"]
    printed = capsys.readouterr().out
    assert f"attention correctness {head['attention_correctness']:.3f} (uniform 0.500, centre 0.500), " in printed
    assert (
        f"pointing {head['pointing']:.3f} (0.500, 1.000) over {grounding['references']['phrases']} phrases" in printed
    )


def test_evaluate_refuses_boxes_of_other_photos(bundle, shapes, tmp_path, capsys):
    image = {"id": 1, "file_name": "other.png", "width": 192, "height": 144}
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"images": [image], "categories": [{"id": 1, "name": "circle"}], "annotations": []}))
    arguments = ["--bundle", bundle, "--data", str(shapes), "--output", str(tmp_path / "out"), "--boxes", str(boxes)]
    assert main(["evaluate", *arguments, "--device", "cpu"]) == 2
    assert "3 photos without boxes" in error_of(capsys)
    assert not (tmp_path / "out" / "metrics.json").exists()
    arguments[-1] = str(tmp_path / "nowhere.json")
    assert main(["evaluate", *arguments, "--device", "cpu"]) == 2
    assert "nowhere.json does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "dev"], "there is no split 'dev': the splits are train, val, test"),
        (["--bundle", "nowhere"], "nowhere is not a bundle"),
        (["--beam-width", "0"], "beam_width must be a whole number above 0"),
        (["--format", "yaml"], "there is no format 'yaml'"),
    ],
)
def test_evaluate_refuses_invalid_options_in_one_sentence(bundle, shapes, tmp_path, capsys, options, message):
    output = tmp_path / "evaluation"
    assert main(["evaluate", "--bundle", bundle, "--data", str(shapes), "--output", str(output), *options]) == 2
    assert message in error_of(capsys)
    assert not output.exists()


@pytest.mark.stress
def test_compare_prints_both_scores(bundle, shapes, tmp_path, capsys):
    output = tmp_path / "comparison"
    arguments = ["--new", bundle, "--old", bundle, "--data", str(shapes), "--replay", str(shapes)]
    assert main(["compare", *arguments, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "data " in printed and "replay" in printed and "before" in printed
    assert (output / "comparison.json").is_file()
    assert json.loads((output / "progress.json").read_bytes()) == {"stage": "finished"}


@pytest.mark.parametrize(
    "options, message",
    [
        (["--from-bundle", "BUNDLE", "--hidden-dim", "77"], "--hidden-dim 77 contradicts .* leave --hidden-dim out"),
        (["--from-bundle", "BUNDLE", "--encoder-weights", "some.pth"], "--encoder-weights contradicts --from-bundle"),
        (["--from-bundle", "nowhere"], "nowhere is not a bundle"),
        (["--replay", "DATA"], "--replay mixes in .*: name the captioner, --from-bundle"),
        (["--from-bundle", "BUNDLE", "--preset", "slow"], "no preset 'slow'"),
        (["--from-bundle", "BUNDLE", "--replay", "nowhere"], "nowhere does not exist"),
    ],
)
def test_fit_refuses_an_invalid_start(bundle, shapes, tmp_path, capsys, options, message):
    arguments = [{"BUNDLE": bundle, "DATA": str(shapes)}.get(option, option) for option in options]
    assert main(["fit", "--data", str(shapes), "--output", str(tmp_path / "run"), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_run_killed_before_its_first_checkpoint_starts_over(bundle, shapes, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "progress.json").write_text('{"stage": "encoding"}')
    arguments = ["fit", "--from-bundle", bundle, "--data", str(shapes), "--output", str(tmp_path / "run")]
    options = ["--resume", "--epochs", "1", "--min-count", "1", "--cache", str(tmp_path / "cache")]
    assert main([*arguments, *options]) == 0
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
    assert json.loads((tmp_path / "run" / "progress.json").read_bytes()) == {"stage": "finished"}
    assert json.loads((tmp_path / "run" / "samples.json").read_bytes())["photos"]


def test_inspect_writes_samples_and_unknown_words(shapes, tmp_path, tiny_bundle, capsys):
    save_bundle(tiny_bundle, tmp_path / "bundle")
    arguments = ["inspect", "--data", str(shapes), "--json", "--most", "2", "--bundle", str(tmp_path / "bundle")]
    assert main([*arguments, "--samples", str(tmp_path / "samples")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] is True and "11 photos are few" in report["advice"][0]
    assert report["unknown_words"]["words"] > 0
    assert len(report["samples"]) == 8
    for sample in report["samples"]:
        assert sample["captions"] and (shapes / sample["photo"]).is_file()
        with Image.open(tmp_path / "samples" / sample["thumbnail"]) as copy:
            assert max(copy.size) <= 320


def test_options_may_come_from_a_file(fit, tmp_path, capsys):
    file = tmp_path / "options.json"
    file.write_text(json.dumps({"epochs": 9, "patience": 7, "learning_rate": 0.5}))
    assert fit("--options", str(file), "--preset", "thorough", "--check") == 0
    options = json.loads(capsys.readouterr().out)
    assert (options["epochs"], options["patience"], options["learning_rate"]) == (1, 7, 0.5)
    assert options["validation_images"] == 1000
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read as JSON"),
        ('{"epoch": 3}', "unknown option epoch"),
        ('{"seed": 3}', "by --seed"),
        ('{"patience": 0}', "patience must be"),
        ("[]", "made from options by name"),
    ],
)
def test_invalid_options_of_a_file_are_refused(fit, tmp_path, capsys, content, says):
    file = tmp_path / "options.json"
    file.write_text(content)
    assert fit("--options", str(file), "--check") == 2
    assert says in error_of(capsys)


def test_a_full_disk_is_reported_and_loses_nothing(fit, tmp_path, monkeypatch, capsys):
    assert fit("--epochs", "2") == 0
    capsys.readouterr()
    files = {path: path.read_bytes() for path in (tmp_path / "run" / "bundle").iterdir()}

    def fill_disk(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(captioning, "write_samples", fill_disk)
    assert fit("--epochs", "2", output=tmp_path / "other") == 2
    assert "the disk is full" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in files} == files


def test_meteor_starts_before_a_comparison_loads_its_captioners(monkeypatch, tmp_path):
    events = []
    monkeypatch.setattr(one_meteor, "start", lambda: events.append("METEOR"))
    monkeypatch.setattr(commands, "compare", lambda options, ranks: events.append("compare") or 0)
    folders = [
        argument for name in ("new", "old", "data", "output") for argument in (f"--{name}", str(tmp_path / name))
    ]
    assert main(["compare", *folders]) == 0 and events == ["METEOR", "compare"]
