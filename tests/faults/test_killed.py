"""A short run of the kill rounds: promises survive a kill, and the checks detect broken promises."""

from stress.kill_journal import Journal, broken_promises, leftovers
from stress.kill_rounds import Results, kill_rounds, report
from stress.tiny_service import start_service

MOMENTS = ("caption", "promotion", "upload")
"""Moments that take seconds. tests/service/jobs/test_training.py kills trainings."""


def test_a_killed_service_keeps_its_promises(tmp_path):
    results = Results()
    kill_rounds(tmp_path, len(MOMENTS), 0, results, MOMENTS)
    assert not results.broken, report(results, 0)
    assert results.rounds == sum(results.killed.values()) == len(MOMENTS)
    assert {"caption", "correction", "captioner", "promotion"} <= results.successes.keys()


def test_broken_promises_are_detected(tmp_path, bundle):
    service = start_service(tmp_path / "home", bundle, tmp_path / "log")
    try:
        empty = Journal()
        assert broken_promises(empty, service.client, tmp_path / "home", []) == []
        missing_id = "0" * 32
        journal = Journal(
            {missing_id: "a dog"},
            {missing_id: {None}},
            {missing_id: True},
            {missing_id},
            {"0" * 12},
            {missing_id},
            current={"1" * 12},
        )
        (tmp_path / "home" / "models" / ("2" * 12) / "bundle").mkdir(parents=True)
        broken = " ".join(broken_promises(journal, service.client, tmp_path / "home", [missing_id]))
    finally:
        service.kill()
    for sentence in (
        f"caption {missing_id} is lost",
        "its photo and a small copy are answered with (404, 404, 404)",
        f"data set {missing_id} is lost",
        f"version {'0' * 12} is lost",
        "is not a whole bundle",
        "version built-in is current, not one of",
        f"training {missing_id} is lost",
    ):
        assert sentence in broken, broken


def test_leftover_files_are_detected(tmp_path):
    current_files = ["captioner.db", "photos/a.jpg", "trainings/.lock", "trainings/.heartbeat", "models/.lock"]
    stray_files = [
        "photos/b.part",
        "models/.add-x/bundle/config.json",
        "trainings/a/.state.json-x.part",
        "tmpx/file",
    ]
    for name in current_files + stray_files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    detected = {str(path.relative_to(tmp_path)) for path in leftovers(tmp_path)}
    assert detected == {"photos/b.part", "models/.add-x", "trainings/a/.state.json-x.part", "tmpx"}
