"""`python -m captioner translate TEXT... --to LANGUAGE`: translations, and pictures of their attention matrices."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from captioner import load_translator
from captioner.arguments import add_arguments, count
from captioner.config import DecodingOptions
from captioner.errors import CaptionerError, ConfigError

BAD_INPUT = 2
"""Exit status of an error that a user can fix."""
_NOT_DECODING = ("captions_per_image", "hard_context", "repeat_nouns")


def translate(arguments: Sequence[str]) -> int:
    """Translate the texts that the arguments name, or lines of standard input; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        texts = [line.rstrip("\n") for line in sys.stdin] if options.texts == ["-"] else options.texts
        translator = load_translator(options.to, options.device)
        chosen = {field.name for field in fields(DecodingOptions)} & vars(options).keys()
        decoding = replace(translator.decoding, **{name: getattr(options, name) for name in chosen})
        width = max(decoding.beam_width, options.translations)
        decoding = replace(decoding, captions_per_image=options.translations, beam_width=width)
        ranked = list(translator.translations(texts, decoding))
        if options.figure is not None:
            _draw([translations[0] for translations in ranked], options.figure)
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    if options.json:
        from captioner.translation.serialise import translation_json

        entries = []
        for translations in ranked:
            entry, *others = map(translation_json, translations)
            entries.append(entry | ({"alternatives": others} if others else {}))
        print(json.dumps(entries, ensure_ascii="utf" not in (sys.stdout.encoding or "").lower()))
    else:
        for translations in ranked:
            for each in translations:
                print(each.text + (f" (probability {each.probability:.2g})" if len(translations) > 1 else ""))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m captioner translate", description="Translate sentences, and show which word came from which."
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a sentence; - reads one from each line of the input")
    parser.add_argument(
        "--to", required=True, metavar="L", help="the code of a translator that ships, or a translator's folder"
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ... Default: a GPU if there is one.")
    parser.add_argument(
        "--translations", type=count, default=1, metavar="N", help="number of translations of each text. Default: 1."
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list with every word's weights")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE.png",
        help="draw the attention matrix; for several texts, FILE-1.png, FILE-2.png, ...",
    )  # fmt: skip
    add_arguments(
        parser, DecodingOptions, "decoding (defaults are the translator's)", leave_out=_NOT_DECODING, only_given=True
    )
    return parser


def _draw(translations: Sequence, file: Path) -> None:
    """Draw the matrix of each translation. Raises ConfigError if a picture cannot be written."""
    from captioner.translation.matrix import matrix_figure

    for number, translation in enumerate(translations, start=1):
        path = file if len(translations) == 1 else file.with_stem(f"{file.stem}-{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            matrix_figure(translation).save(path)
        except (OSError, ValueError) as error:  # ValueError: an ending that names no format
            raise ConfigError(
                f"--figure: {path} cannot be written ({error}): name another file, such as .png"
            ) from error
