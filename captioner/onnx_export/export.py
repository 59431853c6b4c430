"""Write a captioner as two ONNX networks, its words and options, an example in Python, and a README."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captioner.bundle.bundle import Bundle
from captioner.bundle.files import check_replaceable, json_bytes, write_files
from captioner.commands.extras import needs_extra
from captioner.images.fitting import PAD_COLOUR
from captioner.model.tracing import PhotoNetwork, TracedStep
from captioner.text.lexicon import kind_of
from captioner.text.vocabulary import is_unspaced

FILES = ("photo.onnx", "step.onnx", "captioner.json", "caption.py", "README.md")
OPSET = 17
"""Version of ONNX's operators: runtimes since 2022 know it."""

_EXAMPLE = Path(__file__).parent / "templates" / "caption.py.txt"
"""Not a module of this package, as it runs without the package and needs onnxruntime."""
_FEATURES = ("annotations", "keys", "hidden", "cell", "label_keys", "label_bias", "label_to_lstm", "label_to_output")
_STEP_OUTPUTS = ("logits", "next_hidden", "next_cell", "alpha", "gate", "label_alpha")
_HYPOTHESES = {"hidden": 1, "cell": 1, "tokens": 1, **dict.fromkeys(_STEP_OUTPUTS, 1)}
"""Name -> dimension of the hypotheses of a photo."""


def export_onnx(bundle: Bundle, folder: Path) -> None:
    """Write a captioner into a folder, atomically, in place of an earlier export. Numbers have 32 bits.

    Raises BundleError if the folder exists and holds something else, ConfigError if the package onnx is missing.
    """
    with needs_extra("onnx"):
        import onnx  # noqa: F401  torch needs it, and says so too late
    check_replaceable(folder, "captioner in ONNX", FILES, optional=(), with_others=False)  # people caption photos there
    model = bundle.model.eval()
    size = bundle.config.image_size
    pixels = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    photo = PhotoNetwork(model.encoder, model.decoder).eval()
    with torch.no_grad():
        features = photo(pixels)
    names = _FEATURES[: len(features)]
    tokens = torch.zeros(1, 1, dtype=torch.long)
    step = TracedStep(model.decoder, bundle.decoding.hard_context).eval()
    operands = *features[:4], tokens, *features[4:]
    outputs = _STEP_OUTPUTS[: 6 if model.decoder.labels is not None else 5]
    write_files(
        folder,
        {
            "photo.onnx": _onnx(photo, [pixels], ["pixels"], names, {}),
            "step.onnx": _onnx(step, operands, [*names[:4], "tokens", *names[4:]], outputs, _HYPOTHESES),
            "captioner.json": json_bytes(_options(bundle)),
            "caption.py": _EXAMPLE.read_bytes(),
            "README.md": _readme(bundle, names, outputs, size).encode(),
        },
    )


def _onnx(
    module: nn.Module,
    operands: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    hypotheses: dict[str, int],
) -> bytes:
    """Convert a module. The first dimension of every tensor is the number of photos."""
    axes = {name: {0: "photos"} for name in (*inputs, *outputs)}
    for name in axes.keys() & hypotheses.keys():
        axes[name][hypotheses[name]] = "hypotheses"
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the form that replaces this one needs more packages
        torch.onnx.export(
            module, tuple(operands), file, input_names=list(inputs), output_names=list(outputs), dynamic_axes=axes,
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return file.getvalue()


def _options(bundle: Bundle) -> dict[str, Any]:
    words, decoding = bundle.vocabulary.words, bundle.decoding
    return {
        "words": list(words),
        "unspaced": [token for token, word in enumerate(words) if len(word) == 1 and is_unspaced(word)],
        "nouns": [token for token, word in enumerate(words) if kind_of(word) == "noun"],
        "image_size": bundle.config.image_size,
        "fit": bundle.config.fit,
        "pad_colour": list(PAD_COLOUR),
        "decoding": {
            name: getattr(decoding, name)
            for name in ("beam_width", "max_words", "length_penalty", "block_repeats", "repeat_nouns")
        },
    }


def _readme(bundle: Bundle, features: Sequence[str], outputs: Sequence[str], size: int) -> str:
    state = bundle.model.decoder.hidden_dim
    return f"""\
# A captioner in ONNX

```
pip install onnxruntime numpy pillow
python caption.py photo.jpg                 # beam search, as in captioner.json
python caption.py photo.jpg --beam-width 1  # greedy
```

| file | content |
|---|---|
| `photo.onnx` | `pixels`, uint8 [photos, {size}, {size}, 3] -> {_names(features)} |
| `step.onnx` | these, `tokens` (the last word of each hypothesis, int64 [photos, hypotheses]) -> {_names(outputs)} |
| `captioner.json` | the words by number, and the options of the search |
| `caption.py` | an example: reads photos, searches, joins words |

- `hidden` and `cell` of `photo.onnx` are the state before the first word, [photos, 1, {state}]: repeat them for
  each hypothesis. `next_hidden` and `next_cell` are the state for the next step.
- `alpha` [photos, hypotheses, locations] is the attention of the word over the grid, row by row; it sums to 1.
- Numbers have 32 bits. Captions are those of the captioner with `--runtime exact`, up to differences of rounding.
- The weights are those of the captioner, with its licence and its limits: see its own card below.

{bundle.card}"""


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
