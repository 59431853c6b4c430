"""Plots are small files on white, whatever the user's style."""

import matplotlib
import pytest
from PIL import Image

from benchmarks.growth.curves import Curve
from benchmarks.growth.plots import draw


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_plot_is_small_and_opaque_white_in_any_style(tmp_path, logarithmic):
    curve = Curve.of("photos", "MB", {100: [500.0, 510.0], 1000: [520.0, 530.0], 10_000: [525.0]}, logarithmic)
    with matplotlib.rc_context({"savefig.facecolor": "black", "figure.facecolor": "black", "text.color": "white"}):
        draw(curve, "Memory", tmp_path / "figures" / "memory.png")
    path = tmp_path / "figures" / "memory.png"
    assert path.stat().st_size < 50_000
    with Image.open(path) as plot:
        pixels = plot.convert("RGBA")
        assert pixels.getpixel((0, 0)) == (255, 255, 255, 255)
        assert pixels.convert("L").getextrema()[0] < 60, "dark text"
        assert max(plot.size) < 900
