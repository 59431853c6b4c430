"""A short run of the kill rounds: promises survive a kill, and the checks detect broken promises."""

from stress.kill_journal import Journal, broken_promises, leftovers
from stress.kill_rounds import Found, kill_rounds, report
from stress.tiny_service import start_service

MOMENTS = ("caption", "promotion", "upload")
"""Moments that take seconds. tests/service/jobs/test_training.py kills trainings."""


def test_a_killed_service_keeps_its_promises(tmp_path):
    found = Found()
    kill_rounds(tmp_path, len(MOMENTS), 0, found, MOMENTS)
    assert not found.broken, report(found, 0)
    assert found.rounds == sum(found.killed.values()) == len(MOMENTS)
    assert {"caption", "correction", "captioner", "promotion"} <= found.answered.keys()


def test_broken_promises_are_detected(tmp_path, bundle):
    service = start_service(tmp_path / "home", bundle, tmp_path / "log")
    try:
        nothing = Journal()
        assert broken_promises(nothing, service.client, tmp_path / "home", []) == []
        never = "0" * 32
        journal = Journal(
            {never: "a dog"}, {never: {None}}, {never: True}, {never}, {"0" * 12}, {never}, current={"1" * 12}
        )
        (tmp_path / "home" / "models" / ("2" * 12) / "bundle").mkdir(parents=True)
        broken = " ".join(broken_promises(journal, service.client, tmp_path / "home", [never]))
    finally:
        service.kill()
    for said in (
        f"caption {never} is lost",
        "its photo and a small copy are answered with (404, 404, 404)",
        f"data set {never} is lost",
        f"version {'0' * 12} is lost",
        "is not a whole bundle",
        "version built-in is current, not one of",
        f"training {never} is lost",
    ):
        assert said in broken, broken


def test_leftover_files_are_detected(tmp_path):
    kept = ["captioner.db", "photos/a.jpg", "trainings/.lock", "trainings/.heartbeat", "models/.lock"]
    left = ["photos/b.part", "models/.add-x/bundle/config.json", "trainings/a/.state.json-x.part", "tmpx/file"]
    for name in kept + left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for path in leftovers(tmp_path)}
    assert found == {"photos/b.part", "models/.add-x", "trainings/a/.state.json-x.part", "tmpx"}
