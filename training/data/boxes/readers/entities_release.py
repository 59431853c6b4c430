"""Reader of the Flickr30k Entities release: boxes in Annotations/NAME.xml, marked phrases in Sentences/NAME.txt."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.data.boxes.box_set import BoxSet
from training.data.boxes.readers import entities
from training.data.boxes.readers.shares import Tally
from training.data.readers.files import is_text, read_lines

LAYOUT = "Flickr30k Entities as released: a folder with Annotations/NAME.xml and Sentences/NAME.txt for each photo"

_MARK = re.compile(r"\[/EN#(?P<chain>[^/\s\]]+)/(?P<types>[^\s\]]+)\s+(?P<phrase>[^\[\]]*)\]")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def claims(path: Path) -> bool:
    """Return whether a folder has the two folders of the release."""
    return (path / "Annotations").is_dir() and (path / "Sentences").is_dir()


def read(path: Path) -> BoxSet:
    """Read the boxes of a folder; count photos whose files are malformed or missing.

    Raises DataError if there is no annotation at all.
    """
    tally = Tally()
    annotations = {file.stem: file for file in sorted((path / "Annotations").glob("*.xml"))}
    if not annotations:
        raise DataError(f"{path / 'Annotations'} holds no .xml: unpack annotations.zip of Flickr30k Entities there")
    for file in sorted((path / "Sentences").glob("*.txt")):
        if file.stem not in annotations:
            tally.add_problem("photos whose annotation is missing", file.name)
    return entities.read_photos(_read_photos(path, annotations, tally), path.resolve().name, tally)


def _read_photos(path: Path, annotations: dict[str, Path], tally: Tally) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the file name of each photo, and its entry for `entities`."""
    for stem, file in annotations.items():
        sentences = path / "Sentences" / f"{stem}.txt"
        if not sentences.is_file():
            tally.add_problem("photos whose sentences are missing", file.name)
            continue
        content = file.read_bytes()
        # XML entities may expand without limit, and the release has none.
        if b"<!DOCTYPE" in content.replace(b"\0", b""):
            tally.add_problem("annotations with a DOCTYPE, which is not read", file.name)
            continue
        try:
            root = ElementTree.fromstring(content)
        except (ElementTree.ParseError, LookupError, ValueError) as error:
            tally.add_problem("annotations that are not XML", f"{file.name}: {error}")
            continue
        name = (root.findtext("filename") or "").strip() or f"{stem}.jpg"
        yield name, _parse_annotation(root) | {"sentences": list(_read_sentences(sentences, tally))}


def _parse_annotation(root: ElementTree.Element) -> dict[str, Any]:
    """Return width and height, and the chains with boxes, of whole scenes, and without boxes."""
    boxes: dict[str, list[Any]] = {}
    chains_by_flag: dict[str, list[str]] = {"scene": [], "nobndbox": []}
    for thing in root.iter("object"):
        chains = [(name.text or "").strip() for name in thing.findall("name")]
        corners = [[_parse_number(box.findtext(side)) for side in _SIDES] for box in thing.findall("bndbox")]
        for chain in chains if corners else ():
            boxes.setdefault(chain, []).extend(corners)
        for flag, flagged_chains in chains_by_flag.items():
            if _parse_number(thing.findtext(flag)) == 1:
                flagged_chains.extend(chains)
    size = {side: _parse_number(root.findtext(f"size/{side}")) for side in ("width", "height")}
    return size | {"boxes": boxes, "scene": chains_by_flag["scene"], "nobox": chains_by_flag["nobndbox"]}


def _parse_number(text: str | None) -> float | str | None:
    """Parse a number; return other text unchanged, to be reported."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text


def _read_sentences(file: Path, tally: Tally) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_lines(file), start=1):
        if not is_text(line):
            tally.add_problem("sentences that are not UTF-8 text", f"{file.name}:{number}")
        elif line.strip():
            sentence = parse_sentence(line)
            if "[/EN#" in sentence["sentence"]:
                tally.add_problem("sentences with a broken mark", f"{file.name}:{number}: {line.strip()}")
            else:
                yield sentence


def parse_sentence(line: str) -> dict[str, Any]:
    """Parse "[/EN#1/people A man] in [/EN#2/clothing a hat] ." -> sentence and phrases in the JSON's form."""
    text, phrases, end = "", [], 0
    for mark in _MARK.finditer(line):
        text += line[end : mark.start()]
        phrases.append(
            {
                "id": mark["chain"],
                "types": mark["types"].split("/"),
                "first_word_index": len(text.split()),
                "phrase": mark["phrase"],
            }
        )
        text += mark["phrase"]
        end = mark.end()
    return {"sentence": text + line[end:], "phrases": phrases}
