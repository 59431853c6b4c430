"""A checkpoint restores a run's state, or an error says why not."""

import os
import pickle

import pytest
import torch

from captioner.errors import DataError
from training.runs import checkpoint
from training.runs.checkpoint import load_checkpoint, save_checkpoint


def test_a_saved_state_is_restored(tmp_path):
    path = tmp_path / "checkpoint.pt"
    layer = torch.nn.Linear(3, 2)
    state = {"run": {}, "progress": {"epoch": 3, "loss_sum": 0.1}, "model": layer.state_dict(), "best_weights": None}
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded["progress"] == state["progress"] and loaded["best_weights"] is None
    assert all(torch.equal(loaded["model"][name], tensor) for name, tensor in layer.state_dict().items())
    assert loaded.keys() == state.keys()
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_failed_write_keeps_the_earlier_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"run": {}, "progress": 1})

    def fill_disk(state, file):
        file.write(b"half of it")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.torch, "save", fill_disk)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, {"run": {}, "progress": 2})
    assert load_checkpoint(path) == {"run": {}, "progress": 1}
    save_checkpoint(path, {"run": {}, "progress": 3})
    assert load_checkpoint(path) == {"run": {}, "progress": 3}
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_the_next_checkpoint_removes_leftovers_of_a_killed_run(tmp_path):
    (tmp_path / ".checkpoint.pt.part").write_bytes(b"half of hundreds of megabytes")
    save_checkpoint(tmp_path / "checkpoint.pt", {"run": {}, "progress": 1})
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"run": {}, "progress": 1})
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(DataError, match="checkpoint.pt is damaged and the run cannot be resumed"):
        load_checkpoint(path)


def test_a_checkpoint_never_runs_code(tmp_path):
    path, marker = tmp_path / "checkpoint.pt", tmp_path / "called"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(path)
    torch.save({"epoch": Harmful()}, path)
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value", [torch.ones(2), {}, [1], {"random": None}, {"random": {}}, {"random": {"cpu": [1], "cuda": []}}]
)
def test_a_file_of_another_kind_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(tmp_path / "checkpoint.pt")
