"""A run's progress can be followed by other programs."""

import json

from training.progress import ProgressFile


def read(path):
    return json.loads(path.read_bytes())


def test_a_stage_is_written_at_once_and_its_progress_at_intervals(tmp_path):
    on_progress = ProgressFile(tmp_path / "run")
    on_progress("encoding", done=1, total=9)
    assert read(tmp_path / "run" / "progress.json") == {"stage": "encoding", "done": 1, "total": 9}
    on_progress("encoding", done=2, total=9)
    assert read(tmp_path / "run" / "progress.json")["done"] == 1  # half a second has not passed
    on_progress("training", batch=1)
    assert read(tmp_path / "run" / "progress.json") == {"stage": "training", "batch": 1}
