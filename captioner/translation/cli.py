"""`python -m captioner translate TEXT... --to LANGUAGE`: translations, and pictures of their attention matrices.

Each text gets one line of output. With - the texts are the lines of standard input. The line is empty for a blank line,
and for a text that cannot be translated, which is reported with its number on standard error.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from captioner import load_translator
from captioner.commands.arguments import add_arguments, count
from captioner.config import DecodingOptions
from captioner.errors import CaptionerError, ConfigError, TextError

if TYPE_CHECKING:  # imports torch, which `--help` should not wait for
    from captioner.translation.translator import Translation, Translator

BAD_INPUT = 2
"""Exit status of an error that a user can fix."""
_NOT_DECODING = ("captions_per_image", "hard_context", "repeat_nouns")


def translate(arguments: Sequence[str]) -> int:
    """Translate the texts that the arguments name, or lines of standard input; return the exit status.

    It is 2 for an error that a user can fix, also if only some of the texts cannot be translated.
    """
    options = _parser().parse_args(arguments)
    try:
        translator = load_translator(options.to, options.device)
        if options.texts == ["-"]:
            texts, problems = _read_lines(sys.stdin.buffer, translator)
        else:
            texts, problems = options.texts, list(_refusals(options.texts, translator))
        chosen = {field.name for field in fields(DecodingOptions)} & vars(options).keys()
        decoding = replace(translator.decoding, **{name: getattr(options, name) for name in chosen})
        width = max(decoding.beam_width, options.translations)
        decoding = replace(decoding, captions_per_image=options.translations, beam_width=width)
        ranked = list(translator.translations(texts, decoding, strict=False))
        _print(ranked, options.json)
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        if options.figure is not None:  # last, so that a picture that cannot be written costs no translation
            _draw([translations[0] for translations in ranked], options.figure)
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    return BAD_INPUT if problems else 0


def _print(ranked: "Sequence[Sequence[Translation]]", as_json: bool) -> None:
    """Print the translations of each text, best first, one on a line, or all as one JSON list."""
    if as_json:
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


def _refusals(texts: Sequence[str], translator: "Translator") -> Iterator[str]:
    """Yield a sentence about each text that cannot be translated."""
    for number, text in enumerate(texts, start=1):
        try:
            translator.encode(text)
        except TextError as error:
            yield f"text {number:,}: {error}"


def _read_lines(stream: BinaryIO, translator: "Translator") -> tuple[list[str], list[str]]:
    """Return the lines of a stream, and a sentence about each that cannot be translated. Blank lines are no problem."""
    lines, problems = [], []
    for number, content in enumerate(stream, start=1):
        try:
            lines.append(content.decode("utf-8-sig" if number == 1 else "utf-8").strip())
            if lines[-1]:
                translator.encode(lines[-1])
        except UnicodeDecodeError:
            lines.append("")
            problems.append(f"line {number:,} is not UTF-8 text: save the input as UTF-8")
        except TextError as error:
            problems.append(f"line {number:,}: {error}")
    return lines, problems


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
    unknown = dict.fromkeys(field.name for field in fields(DecodingOptions))  # they depend on the translator
    title = "decoding (defaults are the translator's)"
    add_arguments(parser, DecodingOptions, title, leave_out=_NOT_DECODING, only_given=True, **unknown)
    return parser


def _draw(translations: Sequence, file: Path) -> None:
    """Draw the matrix of each translation that has words. Raises ConfigError if a picture cannot be written."""
    from captioner.translation.matrix import matrix_figure

    for number, translation in enumerate(translations, start=1):
        if not translation.words:
            continue
        path = file if len(translations) == 1 else file.with_stem(f"{file.stem}-{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            matrix_figure(translation).save(path)
        except (OSError, ValueError) as error:  # ValueError: an ending that names no format
            raise ConfigError(
                f"--figure: {path} cannot be written ({error}): name another file, such as .png"
            ) from error
