"""Pictures of an epoch are those that TensorBoard would store."""

import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from training.runs.curves import add_picture


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_is_stored_as_tensorboard_stores_it(tmp_path, mode):
    shape = (20, 30, 3) if mode == "RGB" else (20, 30)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    with SummaryWriter(str(tmp_path)) as writer:
        add_picture(writer, "ours", Image.fromarray(pixels), 3)
        writer.add_image("plain", pixels, 3, dataformats="HWC" if mode == "RGB" else "HW")
    events = EventAccumulator(str(tmp_path)).Reload()
    for name in ("ours", "plain"):
        (picture,) = events.Images(name)
        assert (picture.step, picture.width, picture.height) == (3, 30, 20)
        decoded = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)).convert(mode))
        assert np.array_equal(decoded, pixels)
