"""Picture of the attention matrix: source words across, translated words down, white where the weight is 1."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from captioner.errors import ConfigError
from captioner.figures import INK, PAPER, load_font

if TYPE_CHECKING:
    from captioner.translation.translator import Translation  # imports torch, which drawing does not need

MAX_SIDE = 8000
"""Maximum side of the matrix without its labels, in pixels; many words get smaller cells."""
MAX_LABEL = 40
"""Maximum number of characters of a label; longer words end with an ellipsis."""


def matrix_figure(translation: "Translation", cell: int = 32) -> Image.Image:
    """Draw the matrix of Bahdanau et al. 2015, figure 3 -> grey image.

    Black is a weight of 0, white a weight of 1. cell: side of a cell in pixels. Words in scripts that DejaVu Sans
    (matplotlib's font) lacks show as boxes. Raises ConfigError for a cell below 10 pixels.
    """
    if cell < 10:
        raise ConfigError(f"cell must be at least 10 pixels, not {cell}")
    rows, columns = translation.weights.shape
    cell = max(10, min(cell, MAX_SIDE // max(rows, columns, 1)))  # below 10, labels would overlap
    font = load_font(max(8, round(0.55 * cell)))
    across = [_shorten(word) for word in translation.source_words]
    down = [_shorten(word) for word in translation.words]
    gap = max(4, cell // 3)
    left, top = (gap + max((round(font.getlength(word)) for word in words), default=0) for words in (down, across))
    figure = Image.new("L", (left + 2 * gap + columns * cell, top + 2 * gap + rows * cell), PAPER[0])
    draw = ImageDraw.Draw(figure)
    origin = left + gap, top + gap
    for row, word in enumerate(down):
        draw.text((left, origin[1] + (row + 0.5) * cell), word, font=font, fill=INK[0], anchor="rm")
    for column, word in enumerate(across):
        label = Image.new("L", (top, cell), PAPER[0])
        ImageDraw.Draw(label).text((gap // 2, cell / 2), word, font=font, fill=INK[0], anchor="lm")
        figure.paste(label.rotate(90, expand=True), (origin[0] + column * cell, gap))
    if rows and columns:
        grey = np.rint(255 * translation.weights.clip(0, 1)).astype(np.uint8)
        figure.paste(Image.fromarray(grey.repeat(cell, axis=0).repeat(cell, axis=1)), origin)
        end = origin[0] + columns * cell, origin[1] + rows * cell
        draw.rectangle((origin[0] - 1, origin[1] - 1, *end), outline=INK[0])
    return figure


def _shorten(word: str) -> str:
    return word if len(word) <= MAX_LABEL else f"{word[: MAX_LABEL - 1]}…"
