"""From parallel text to a translator in use, with the real commands of training; and back."""

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import service.jobs.work
from captioner.bundle.bundle import save_bundle
from captioner.errors import ConfigError
from service.jobs.stages import TranslatorStages
from service.jobs.trainings import Training
from service.jobs.work import Work
from service.settings import Settings
from tests.support.parallel_texts import OPTIONS, PAIRS, zipped_pairs
from tests.support.serving import Running
from tests.support.translators import save_tiny_translator

LANGUAGE = "lb"
"""A language that no translator ships for: the worker's processes see what ships."""
ZIP = {"Content-Type": "application/zip"}


@pytest.fixture(autouse=True)
def not_nice(monkeypatch):
    """The tests wait for the processes of the training."""
    monkeypatch.setattr(service.jobs.work, "NICENESS", 0)


@pytest.fixture
def start_service(start, tiny_bundle, tmp_path) -> Callable[..., Running]:
    """Start services whose captioner is a folder, as other processes need one."""
    save_bundle(tiny_bundle, tmp_path / "bundle")
    return lambda **changes: start(bundle=tmp_path / "bundle", device="cpu", **changes)


def upload(running: Running) -> dict:
    content = zipped_pairs({"train": PAIRS, "val": PAIRS[:4]}, LANGUAGE)
    response = running.client.post(
        "/api/datasets?name=signs&kind=parallel_text", content=content, headers=ZIP, timeout=60
    )
    assert response.status_code == 201, response.text
    return response.json()


def train(running: Running, data: dict, **body) -> dict:
    """Queue a training and run it in this process, as a worker does -> its document."""
    body = {"dataset": data["id"], "options": OPTIONS | {"learning_rate": 0.002}} | body
    response = running.client.post("/api/trainings", json=body, timeout=60)
    assert response.status_code == 201, response.text
    work = Work(running.service.settings)
    try:
        assert work.run_next()
    finally:
        work._database.close()
    training = running.client.get(f"/api/trainings/{response.json()['id']}").json()
    log = running.client.get(f"/api/trainings/{training['id']}/log").text
    assert training["state"] == "finished", (training["message"], log)
    return training


def version_in_use(running: Running) -> str | None:
    """Return the version of the translator to LANGUAGE; None if there is none."""
    translators = running.client.get("/api/translators").json()["translators"]
    return next((each["version"] for each in translators if each["language"] == LANGUAGE), None)


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.stress
def test_parallel_text_becomes_a_promoted_translator_in_all_replicas_and_is_rolled_back(start_service, tmp_path):
    folder = save_tiny_translator(tmp_path)  # writes German by its own name, and is configured for another language
    running, replica = (start_service(translators=f"{LANGUAGE}={folder}") for _ in range(2))
    client = running.client
    data = upload(running)
    training = train(running, data, promote_margin=-100)
    assert (training["kind"], training["source"], training["target"], training["start"]) == (
        "translator",
        "en",
        LANGUAGE,
        "scratch",
    )
    assert [epoch["epoch"] for epoch in training["epochs"]] == [1, 2]
    assert all(epoch["loss"] > 0 and epoch["chrF"] is not None for epoch in training["epochs"])
    assert [len(each["translations"]) for each in training["sentences"]] == [2] * 4
    assert training["options"]["batch_size"] == OPTIONS["batch_size"] and training["promoted"] is True
    assert set(training["seconds"]) == {"fit", "compare", "switching"}

    wait_until(lambda: version_in_use(running) == training["version"] == version_in_use(replica))
    version = client.get(f"/api/models/{training['version']}").json()
    assert (version["kind"], version["source"], version["language"], version["current"]) == (
        "translator",
        "en",
        LANGUAGE,
        True,
    )
    assert (version["name"], version["compared_with"], version["started_from"]) == (
        "signs translator",
        "built-in",
        "scratch",
    )
    scores = version["scores"]["data"]
    assert (scores["split"], scores["sentences"]) == ("val", 4)
    assert scores["new"].keys() == scores["old"].keys() == {"BLEU", "chrF"}
    sentences = client.get(f"/api/models/{version['version']}/comparison").json()["sentences"]
    assert [" ".join(pair["new"]["source"]) for pair in sentences][0] == "A dog runs ."
    assert all(pair["old"]["translation"] for pair in sentences)
    for each in (running, replica):
        answer = each.client.post("/api/translations", json={"text": "A dog runs.", "language": LANGUAGE})
        assert answer.status_code == 200, answer.text
    assert client.get("/api/models/current").json()["version"] != version["version"], "the captioner stays"

    response = client.post("/api/models/rollback", params={"language": LANGUAGE})
    assert (response.status_code, response.json()["version"], response.json()["kind"]) == (
        200,
        "built-in",
        "translator",
    )
    wait_until(lambda: version_in_use(running) == "built-in" == version_in_use(replica))
    assert client.delete(f"/api/models/{version['version']}").status_code == 204


@pytest.mark.stress
def test_a_first_translator_adds_its_language_and_a_rollback_removes_it(start_service):
    running = start_service()
    training = train(running, upload(running), promote_margin=0)
    version = running.client.get(f"/api/models/{training['version']}").json()
    assert version["scores"]["data"]["old"] is None and version["compared_with"] is None
    comparison = running.client.get(f"/api/models/{version['version']}/comparison").json()
    assert {pair["old"] for pair in comparison["sentences"]} == {None}
    wait_until(lambda: version_in_use(running) == version["version"])
    assert running.client.post("/api/models/rollback", params={"language": LANGUAGE}).status_code == 204
    assert version_in_use(running) is None
    response = running.client.post("/api/models/rollback", params={"language": LANGUAGE})
    assert response.status_code == 422 and f"no translator for the language '{LANGUAGE}'" in response.json()["detail"]


@pytest.mark.stress
def test_a_second_translator_starts_from_the_first(start_service):
    running = start_service()
    data = upload(running)
    first = train(running, data, promote_margin=0)
    wait_until(lambda: version_in_use(running) == first["version"])
    options = {name: value for name, value in OPTIONS.items() if not name.endswith("_pieces")}
    second = train(running, data, options=options | {"keep": "last"})  # else it may be the first one itself
    assert second["start"] == first["version"] == running.service.versions.get(second["version"]).facts["started_from"]
    assert [epoch["epoch"] for epoch in second["epochs"]] == [0, 1, 2] and second["epochs"][0]["loss"] is None
    best = [epoch["chrF"] for epoch in first["epochs"] if epoch["best"]][-1]
    assert second["epochs"][0]["chrF"] == pytest.approx(best, abs=2), "epoch 0 is the first one"


def test_a_training_from_a_missing_built_in_translator_says_what_to_do(start_service, tmp_path):
    running = start_service().service
    data = SimpleNamespace(root=tmp_path, report={})
    request = {"dataset": "a" * 32, "replay": None, "source": "en", "target": LANGUAGE, "start": "built-in"}
    training = Training("b" * 32, tmp_path, request | {"options": {}, "preset": None})
    stages = TranslatorStages(training, running.settings, SimpleNamespace(get=lambda _: data), running.versions)
    with pytest.raises(ConfigError, match="give the worker the CAPTIONER_TRANSLATORS of the service"):
        stages.fit()


@pytest.mark.parametrize("maker, is_promoted", [("b" * 32, True), ("c" * 32, False)])
def test_a_training_that_improved_nothing_has_promoted_nothing(tmp_path, maker, is_promoted):
    """Its result is the version that was in use before; that of a killed worker is one that it made itself."""
    settings = Settings(home=tmp_path / "home")
    settings.make_home()
    work = Work(settings)
    try:
        facts = {"name": "signs", "origin": "training", "training": maker}
        version = work._versions.add(save_tiny_translator(tmp_path), facts)
        training = Training("b" * 32, tmp_path, {"promote_margin": 0})
        stages = SimpleNamespace(in_use=lambda: version, metric="BLEU")
        assert work._promote_if_better(training, stages, version, version, {}) is is_promoted
    finally:
        work._database.close()


@pytest.mark.parametrize(
    "source, splits, compared, held_out",
    [
        ("en", {"train": 90, "val": 9, "test_2016": 20}, True, "test_2016"),
        ("EN", {"train": 90, "val": 9, "test_2016": 19}, True, "val"),
        ("fr", {"train": 90, "val": 9}, False, "val"),
    ],
)
def test_translators_of_the_same_languages_are_compared(start_service, tmp_path, source, splits, compared, held_out):
    folder = save_tiny_translator(tmp_path)
    running = start_service(translators=f"{LANGUAGE}={folder}").service
    report = {"splits": [{"split": name, "pairs": pairs} for name, pairs in splits.items()]}
    data = SimpleNamespace(root=tmp_path, report=report)
    request = {"dataset": "a" * 32, "replay": None, "source": source, "target": LANGUAGE}
    training = Training("b" * 32, tmp_path, request)
    stages = TranslatorStages(training, running.settings, SimpleNamespace(get=lambda _: data), running.versions)
    old = stages.in_use()
    assert (old is not None) == compared and (old is None or old.bundle == folder)
    commands = stages.compare(old).commands
    assert len(commands) == 1 + compared
    assert all(command[command.index("--split") + 1] == held_out for command in commands)
