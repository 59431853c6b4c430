"""The figure strip shows every word with its map, for any photo and caption."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFont

from captioner.captioner import Caption
from captioner.errors import ConfigError
from captioner.figures import figure_strip, occlusion_heading
from captioner.images.fitting import fit_image
from tests.support.maps import FITS, argmax, caption_of, peaked


def test_a_strip_holds_the_photo_and_a_panel_for_each_word(photo):
    frame = fit_image(photo, 14, "squash")[1]
    figure = figure_strip(photo, caption_of("a dog runs", frame), panel_width=140)
    assert figure.mode == "RGB" and figure.width > 4 * 140 and 90 < figure.height < 250
    pixels = np.array(figure)
    rows = [y for y in range(figure.height - 90) if (pixels[y : y + 90, 8:148] == np.array(photo)).all()]
    assert len(rows) == 1  # the unchanged photo comes first


def test_each_panel_is_bright_where_its_word_attended(photo):
    grey = Image.new("RGB", (140, 90), (128, 128, 128))
    frame = fit_image(grey, 14, "squash")[1]
    cells = [(0, 0), (2, 4), (4, 1)]
    alphas = np.stack([peaked(*cell, (5, 5)) for cell in cells])
    words = ("a", "b", "c")
    caption = Caption("a b c", words, (0, 1, 2), alphas, np.ones(3), np.zeros(3), -1.0, -1.0, frame)
    figure = np.array(figure_strip(grey, caption, columns=4, panel_width=140).convert("L")).astype(int)
    bottom = np.nonzero(figure[:, 20] == 128)[0].max() + 1
    for index, (row, column) in enumerate(cells, start=1):
        left = 8 + index * 148
        panel = figure[bottom - 90 : bottom, left : left + 140]
        x, y = argmax(panel)
        assert abs(x - (column + 0.5) * 28) <= 14 and abs(y - (row + 0.5) * 18) <= 9
        assert panel.min() < 64 < 150 < panel.max()


def panel_of(figure: Image.Image, index: int, columns: int, size: tuple[int, int]) -> np.ndarray:
    """Return the panel of word `index` of a one-row figure, 140 pixels wide; panel 0 is the photo."""
    assert figure.width == columns * 148 + 8
    bottom = figure.height - 8 - 4
    return np.array(figure)[bottom - size[1] : bottom, 8 + index * 148 :][:, : size[0]]


@pytest.mark.parametrize("grey", [0, 255])
def test_outlines_surround_the_named_object_and_show_on_dark_and_bright_photos(grey):
    photo = Image.new("RGB", (280, 180), (grey, grey, grey))  # drawn at half its size
    caption = caption_of("a dog runs", fit_image(photo, 14, "squash")[1])
    caption.alphas[:] = 1.0  # bright everywhere
    boxes = [(40, 20, 120, 100), (200, 0, 280, 180)]
    plain = figure_strip(photo, caption, columns=4, panel_width=140)
    figure = figure_strip(photo, caption, columns=4, panel_width=140, outlines={1: boxes})
    changed = [
        (panel_of(figure, index, 4, (140, 90)) != panel_of(plain, index, 4, (140, 90))).any(axis=2)
        for index in range(4)
    ]
    assert [panel.any() for panel in changed] == [False, False, True, False]
    expected = np.zeros((90, 140), bool)
    for left, top, right, bottom in boxes:
        left, top, right, bottom = left // 2, top // 2, right // 2, bottom // 2
        expected[top:bottom, left:right] = True
        expected[top + 2 : bottom - 2, left + 2 : right - 2] = False
    assert not (changed[2] & ~expected).any()
    contrast = np.abs(panel_of(figure, 2, 4, (140, 90)).astype(int).mean(axis=2) - grey)
    # Along each side one of the two tones stands out.
    assert contrast[11:49, 20:22].max(axis=1).min() > 80 and contrast[11:49, 58:60].max(axis=1).min() > 80
    assert contrast[10:12, 21:59].max(axis=0).min() > 80 and contrast[48:50, 21:59].max(axis=0).min() > 80
    assert figure.size == plain.size


def test_outlines_of_scaled_photos_and_thin_boxes_stay_within_the_panel(photo):
    caption = caption_of("a dog", fit_image(photo, 14, "crop")[1])
    boxes = [(0.0, 0.0, 0.2, 90.0), (139.9, 89.9, 140.0, 90.0), (10.0, 10.0, 140.0, 90.0)]
    outlined = figure_strip(photo, caption, panel_width=140, outlines={1: boxes})
    smaller = figure_strip(photo.resize((70, 45)), caption, panel_width=140, outlines={1: boxes})
    assert outlined.size == smaller.size
    for figure in (outlined, smaller):
        panel = panel_of(figure, 2, 3, (140, 90))
        assert (panel[:, 0] == 0).all() and (panel[89, 139] == 0).all()
        assert (panel[10:, 10] == 0).all() and (panel[11:89, 11] == panel[11, 11]).all() and panel[11, 11].max() > 200
    without = figure_strip(photo, caption, panel_width=140)
    assert without.tobytes() == figure_strip(photo, caption, panel_width=140, outlines={0: []}).tobytes()


def test_long_captions_wrap_in_even_rows(photo):
    frame = fit_image(photo, 14, "squash")[1]
    long = figure_strip(photo, caption_of(" ".join(["word"] * 15), frame), panel_width=64)
    assert 6 * 64 < long.width < 7 * 72 and long.height > 3 * 41
    narrow = figure_strip(photo, caption_of("one two three", frame), columns=1, panel_width=64)
    assert narrow.width < 2 * 64 and narrow.height > 4 * 41


@pytest.mark.parametrize(
    "text",
    [
        "",
        "donaudampfschifffahrtsgesellschaftskapitänsmütze",
        "собака бежит по траве",
        "一只狗在草地上奔跑",
        "كلب يجري",
        "line\nbreak tab\there",
        "\N{DOG FACE}",
    ],
)
def test_any_text_fits(photo, text):
    frame = fit_image(photo, 14, "squash")[1]
    figure = figure_strip(photo, caption_of(text, frame), panel_width=96)
    pixels = np.array(figure)
    assert (pixels[:, -3:] == 255).all()  # nothing crosses the edge


@pytest.mark.parametrize("size", [(10000, 10), (10, 10000), (1, 1)])
@pytest.mark.parametrize("fit", FITS)
def test_extreme_aspect_ratios_give_usable_figures(size, fit):
    photo = Image.new("RGB", size, (90, 120, 150))
    caption = caption_of("a long thing", fit_image(photo, 14, fit)[1])
    figure = figure_strip(photo, caption, panel_width=96)
    assert 100 < figure.width < 500 and 40 < figure.height < 250
    assert (np.array(figure) == (90, 120, 150)).all(axis=2).sum() >= 96 * 12  # the photo is more than a hairline


def test_invalid_figure_options_are_refused(photo):
    caption = caption_of("a dog", fit_image(photo, 14, "squash")[1])
    with pytest.raises(ConfigError, match="columns"):
        figure_strip(photo, caption, columns=0)
    with pytest.raises(ConfigError, match="panel_width"):
        figure_strip(photo, caption, panel_width=3)


def test_other_maps_replace_the_attention_below_their_heading(photo):
    caption = caption_of("a dog runs", fit_image(photo, 14, "squash")[1])
    maps = np.stack([peaked(row, 2, (5, 5)) for row in (0, 2, 4)])
    attention_figure = figure_strip(photo, caption, panel_width=140)
    assert figure_strip(photo, caption, panel_width=140, maps=caption.alphas).tobytes() == attention_figure.tobytes()
    assert figure_strip(photo, caption, panel_width=140, heading=caption.text).tobytes() == attention_figure.tobytes()
    occlusion_figure = figure_strip(photo, caption, panel_width=140, maps=maps, heading=occlusion_heading(caption.text))
    as_attention = figure_strip(photo, replace(caption, alphas=maps), panel_width=140)
    assert occlusion_figure.size == as_attention.size == attention_figure.size
    title = occlusion_figure.height - 8 - 90 - 20 - 4  # above the labels and the panels
    assert np.array_equal(np.array(occlusion_figure)[title:], np.array(as_attention)[title:])
    assert not np.array_equal(np.array(occlusion_figure)[title:], np.array(attention_figure)[title:])
    assert not np.array_equal(np.array(occlusion_figure)[:title], np.array(attention_figure)[:title])


def test_the_heading_of_occlusion_maps_names_them():
    assert occlusion_heading("a dog runs") == "a dog runs: occlusion map of each word"
    assert occlusion_heading("") == ""


@pytest.mark.parametrize("count, told", [(0, "0 maps"), (1, "1 map"), (3, "3 maps")])
def test_a_wrong_number_of_maps_is_refused(photo, count, told):
    caption = caption_of("a dog", fit_image(photo, 14, "crop")[1])
    with pytest.raises(ConfigError, match=f"{told} cannot be drawn for 2 words"):
        figure_strip(photo, caption, maps=np.ones((count, 5, 5)))


def test_long_texts_are_measured_only_a_few_times(photo, monkeypatch):
    """Measuring takes time in proportion to the length: measuring once per character took seconds."""
    measured, getlength = [], ImageFont.FreeTypeFont.getlength

    def counted(font, text, *rest):
        measured.append(len(text))
        return getlength(font, text, *rest)

    monkeypatch.setattr(ImageFont.FreeTypeFont, "getlength", counted)
    caption = caption_of("w" * 2000, fit_image(photo, 14, "crop")[1])
    figure = figure_strip(photo, caption, heading="x" * 3000)
    assert figure.height > 1000 and sum(measured) < 500_000
