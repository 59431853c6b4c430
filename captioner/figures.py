"""Figure in the style of Xu et al. 2015: the photo, then the photo lit by the map of each word."""

import bisect
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from captioner.errors import ConfigError
from captioner.images.fitting import ImageFrame
from captioner.overlays import check_photo, heat_map, maps_to_draw, scale_photo

if TYPE_CHECKING:
    from captioner.captioner import Caption  # imports torch, which drawing does not need

_OUTLINE_DARK, _OUTLINE_BRIGHT = (0, 0, 0), (90, 230, 255)
PAPER, INK, _FAINT = (255, 255, 255), (28, 30, 34), (128, 132, 140)


def figure_strip(
    photo: Image.Image,
    caption: "Caption",
    columns: int | None = None,
    panel_width: int = 224,
    smooth: bool = True,
    outlines: Mapping[int, Sequence[tuple[float, float, float, float]]] | None = None,
    maps: np.ndarray | None = None,
    heading: str | None = None,
) -> Image.Image:
    """Draw the figure of Xu et al. 2015: the photo, then the photo lit by each word's map -> RGB image.

    Each panel has its word and the word's probability above it; the caption is above the whole figure.

    photo: upright RGB, from `open_image`. columns: panels per row; by default even rows of at most six.
    panel_width: in pixels. Words in scripts that DejaVu Sans (matplotlib's font) lacks show as boxes.
    outlines: index of a word -> boxes to draw on its panel: left, top, right, bottom in pixels of the photo.
    maps: [T, H, W] to draw instead of the attention, such as occlusion maps. heading: text above the figure instead of
    the caption, which says what the maps are (for occlusion maps: `occlusion_heading`).
    Raises ConfigError for columns below 1, a panel narrower than 32 pixels, or maps that are not one per word, and
    ImageError for a photo that is not the caption's.
    """
    if columns is not None and columns < 1:
        raise ConfigError(f"columns must be at least 1, not {columns}")
    if panel_width < 32:
        raise ConfigError(f"panel_width must be at least 32 pixels, not {panel_width}")
    check_photo(photo, caption.frame)
    maps = maps_to_draw(caption, maps)
    panels = 1 + len(caption.words)
    if columns is None:
        columns = -(-panels // -(-panels // 6))
    columns = min(columns, panels)
    picture_size = _picture_size(photo.size, panel_width)
    picture = scale_photo(photo, picture_size)
    gap, label_height = max(4, panel_width // 16), max(16, panel_width // 7)
    width = columns * (panel_width + gap) + gap
    title = _Title(caption.text if heading is None else heading, width - 2 * gap, font_size=max(11, panel_width // 9))
    row_height = label_height + picture_size[1] + gap
    figure = Image.new("RGB", (width, gap + title.height + -(-panels // columns) * row_height + gap // 2), PAPER)
    draw = ImageDraw.Draw(figure)
    title.draw(draw, gap, gap)
    for index in range(panels):
        x = gap + index % columns * (panel_width + gap)
        y = gap + title.height + index // columns * row_height
        panel = picture
        if index > 0:
            word, log_prob = caption.words[index - 1], float(caption.word_log_probs[index - 1])
            panel = _light_up(picture, heat_map(maps[index - 1], caption.frame, picture_size, smooth))
            _draw_outlines(panel, (outlines or {}).get(index - 1, ()), caption.frame)
            _draw_label(draw, (x, y, panel_width, label_height), word, f"{np.exp(log_prob):.0%}")
        figure.paste(panel, (x, y + label_height))
    return figure


def occlusion_heading(caption: str) -> str:
    """Return the heading of a figure of occlusion maps, which tells them from attention maps."""
    return f"{caption}: occlusion map of each word" if caption else ""


def _picture_size(size: tuple[int, int], panel_width: int) -> tuple[int, int]:
    """Return a photo's size in a panel: at most 1.5 times as tall as the panel is wide, and squashed beyond 8 : 1."""
    width, height = size
    scale = min(panel_width / width, 1.5 * panel_width / height)
    thinnest = panel_width // 8
    return max(thinnest, round(width * scale)), max(thinnest, round(height * scale))


def _light_up(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """Darken the photo and light it where the heat is high: the white glow of the paper's figures."""
    pixels = np.asarray(picture, dtype=np.float32)
    light = heat[:, :, None]
    dark = 0.24 * pixels + 0.13 * pixels.mean(axis=2, keepdims=True)
    bright = pixels + 0.42 * (255 - pixels) * light
    return Image.fromarray(np.rint(dark + (bright - dark) * light).astype(np.uint8))


def _draw_outlines(panel: Image.Image, boxes: Sequence[tuple[float, float, float, float]], frame: ImageFrame) -> None:
    """Draw boxes, in pixels of the photo, on its panel: a bright line inside a dark one, visible on any background."""
    draw = ImageDraw.Draw(panel)
    across, down = panel.width / frame.width, panel.height / frame.height
    for left, top, right, bottom in boxes:
        x, y = min(round(left * across), panel.width - 1), min(round(top * down), panel.height - 1)
        # The last pixel in the box, or at least the first one.
        end_x, end_y = max(x, round(right * across) - 1), max(y, round(bottom * down) - 1)
        draw.rectangle((x, y, end_x, end_y), outline=_OUTLINE_DARK)
        if end_x - x >= 2 and end_y - y >= 2:
            draw.rectangle((x + 1, y + 1, end_x - 1, end_y - 1), outline=_OUTLINE_BRIGHT)


def _fitting_length(font: ImageFont.FreeTypeFont, text: str, width: float, end: str = "") -> int:
    """Return the number of characters of a text that fit into a width, in pixels, with `end` after them.

    Bisection measures even a text of thousands of characters only a dozen times.
    """
    if font.getlength(text + end) <= width:
        return len(text)
    return bisect.bisect_right(range(len(text)), width, key=lambda count: font.getlength(text[:count] + end)) - 1


@functools.lru_cache(maxsize=32)
def load_font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which matplotlib brings, at a size in pixels."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def _draw_label(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], word: str, probability: str) -> None:
    """Write a word on the left of box (x, y, width, height) and its probability, small, on the right."""
    x, y, width, height = box
    baseline = y + round(height * 0.72)
    small = load_font(max(8, round(height * 0.38)))
    draw.text((x + width, baseline), probability, font=small, fill=_FAINT, anchor="rs")
    room = width - small.getlength(probability) - height // 4
    word, size = _one_line(word), max(9, round(height * 0.56))
    while size > 9 and load_font(size, bold=True).getlength(word) > room:
        size -= 1
    font = load_font(size, bold=True)
    if len(word) > 1 and font.getlength(word) > room:
        word = word[: max(1, _fitting_length(font, word[:-1], room, end="…"))] + "…"
    draw.text((x, baseline), word, font=font, fill=INK, anchor="ls")


class _Title:
    """Caption broken into lines that fit a width in pixels."""

    def __init__(self, text: str, width: int, font_size: int) -> None:
        self.font = load_font(font_size)
        self.line_height = round(1.35 * font_size)
        self.lines = self._break_lines(_one_line(text), width)
        self.height = len(self.lines) * self.line_height + (font_size // 3 if self.lines else 0)

    def draw(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        for number, line in enumerate(self.lines):
            draw.text((x, y + number * self.line_height), line, font=self.font, fill=INK)

    def _break_lines(self, text: str, width: int) -> list[str]:
        lines = []
        while text:
            end = self._line_length(text, width)
            if end < len(text) and " " in text[1 : end + 1]:
                end = text.rindex(" ", 1, end + 1)  # scripts without spaces break anywhere
            lines.append(text[:end].strip())
            text = text[end:].strip()
        return lines

    def _line_length(self, text: str, width: int) -> int:
        """Return the number of characters of a text that fit, at least one."""
        return max(1, _fitting_length(self.font, text, width))


def _one_line(text: str) -> str:
    return " ".join(text.split())
