"""Old leftovers are removed, and nothing else."""

import os
import time

from service.jobs.work import Work
from service.settings import Settings
from service.store.leftovers import ABANDONED_SECONDS, remove_abandoned

LEFT = (".add-x/file", ".gone-x/folder/file", ".bundle-x/config.json", ".state.json-x.part", ".checkpoint.pt.part")
KEPT = (".lock", ".heartbeat", ".ssh/key", ".hidden", "bundle/config.json", "photo.jpg", "notes.part")


def make(folder, names, seconds_old):
    timestamp = time.time() - seconds_old
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for target in (path, folder / name.split("/")[0]):
            os.utime(target, (timestamp, timestamp))


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_old_temporary_files_are_removed(tmp_path):
    make(tmp_path, LEFT + KEPT, ABANDONED_SECONDS + 60)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == set(KEPT)
    make(tmp_path, LEFT, ABANDONED_SECONDS - 60)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == {*KEPT, *LEFT}, "they may be in use"


def test_leftovers_are_removed_everywhere_in_a_home(tmp_path):
    settings = Settings(home=tmp_path / "home", port=0)
    settings.make_home()
    work = Work(settings)
    training = work.trainings.add({"dataset": "0" * 32, "replay": None})
    before = names(settings.home)
    for folder in (
        settings.home,
        settings.datasets_folder,
        settings.trainings_folder,
        settings.home / "models",
        settings.collections_folder,
        training.folder,
        training.run,
        training.comparison,
    ):
        make(folder, LEFT, ABANDONED_SECONDS + 60)
    folders = ("datasets", "1" * 32), ("trainings", "2" * 32), ("models", "3" * 12), ("collections", "4" * 32)
    unknown = ["/".join(names) for names in folders]
    for name in unknown:  # created by a process that was killed before it recorded them in the database
        (settings.home / name).mkdir()
        os.utime(settings.home / name, (0, 0))
    os.utime(training.folder, (0, 0))
    work.clean_up()
    assert not [name for name in unknown if (settings.home / name).exists()] and training.folder.is_dir()
    assert {name for name in names(settings.home) if not name.endswith(".lock")} == before
