"""Reader of Flickr30k Entities (Plummer et al. 2015): phrases of captions, and the boxes of their objects.

A chain links the phrases of a photo's captions that name the same object: a man in one caption, the hiker in another.
Boxes are in pixels of the original photo; the release counts pixels from 1, which is not corrected.
"""

import functools
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from captioner.text.vocabulary import tokenise
from training.data.boxes.box_set import Box, BoxSet, PhotoBoxes, Phrase, Thing
from training.data.boxes.readers.noun_forms import plural, singular
from training.data.boxes.readers.shares import Tally, box_share, is_size

LAYOUT = (
    "Flickr30k Entities as one .json or .json.gz: photo file name -> width, height, boxes by chain id, scene, nobox,"
    " sentences with their phrases"
)

NAMELESS = frozenset(
    "he she it they him her them his hers its their himself herself itself themselves who which that this these those"
    " there here one ones other others another each all both some many several something anything everything two three"
    " four five six seven eight nine ten black white red blue green yellow orange pink purple brown gray grey tan blond"
    " blonde top bottom front back side sides middle center outside inside".split()
)
"""Last words of phrases that do not identify an object in another caption: they are excluded from `things`."""


def claims(content: Any) -> bool:
    """Return whether the content of a JSON file has this format."""
    photos = content.values() if isinstance(content, dict) else ()
    return any(isinstance(photo, dict) and {"boxes", "sentences"} <= photo.keys() for photo in photos)


def read_photos(photos: Iterable[tuple[str, Any]], name: str, tally: Tally) -> BoxSet:
    """Read photos: file names with their JSON entries -> boxes; malformed entries are counted in the tally."""
    photo_boxes = {}
    for photo, entry in photos:
        if not _is_complete(entry):
            tally.add_problem("photos that have no boxes and sentences as they should", photo)
        elif not is_size(entry.get("width"), entry.get("height")):
            tally.add_problem("photos without a size", f"{photo}: {entry.get('width')} x {entry.get('height')} pixels")
        elif photo in photo_boxes:
            tally.add_problem("photos that are listed twice", photo)
        else:
            photo_boxes[photo] = _read_photo(photo, entry, tally)
            tally.add("photos")
    return BoxSet(name, photo_boxes, tally.counts, tally.examples)


def _is_complete(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("boxes"), dict) and isinstance(entry.get("sentences"), list)


def _read_photo(photo: str, entry: Mapping[str, Any], tally: Tally) -> PhotoBoxes:
    boxes = _read_boxes(photo, entry, tally)
    if not boxes:
        tally.add_problem("photos without boxes", photo)
    reasons = {str(chain): "phrases whose boxes cannot be used" for chain in entry["boxes"]}
    reasons |= {str(chain): "phrases without boxes" for chain in _as_list(entry.get("nobox"))}
    reasons |= {str(chain): "scenes" for chain in _as_list(entry.get("scene"))}
    phrases: dict[tuple[str, ...], list[Phrase]] = {}
    heads: dict[str, list[Phrase]] = {}
    for sentence in entry["sentences"]:
        text = sentence.get("sentence") if isinstance(sentence, dict) else None
        if not isinstance(text, str) or not isinstance(sentence.get("phrases"), list):
            tally.add_problem("broken sentences", f"{photo}: {str(sentence)[:80]}")
            continue
        words = tuple(tokenise(text))
        sentence_phrases = _read_sentence(
            f"{photo}: {text.strip()}", text, words, sentence["phrases"], boxes, reasons, tally
        )
        tally.add("captions")
        if words in phrases:
            tally.add_problem("captions that repeat another of their photo", f"{photo}: {text.strip()}")
        phrases[words] = _merge_phrases([*phrases.get(words, []), *sentence_phrases])
        for phrase in sentence_phrases:
            if words[phrase.last] not in NAMELESS and not words[phrase.last].isdigit():
                heads.setdefault(words[phrase.last], []).append(phrase)
    return PhotoBoxes(phrases, _build_things(heads))


def _read_boxes(photo: str, entry: Mapping[str, Any], tally: Tally) -> dict[str, tuple[Box, ...]]:
    """Return chain -> its usable boxes, without chains that have none."""
    boxes = {}
    for chain, chain_boxes in entry["boxes"].items():
        position = f"{photo}, chain {chain}"
        shares = [
            box_share(corners, entry["width"], entry["height"], tally, position) for corners in _as_list(chain_boxes)
        ]
        usable = tuple(dict.fromkeys(box for box in shares if box is not None))
        tally.add("boxes", len(usable))
        if usable:
            boxes[str(chain)] = usable
    return boxes


def _read_sentence(
    sentence_position: str,
    text: str,
    words: tuple[str, ...],
    phrases: list[Any],
    boxes: Mapping[str, tuple[Box, ...]],
    reasons: Mapping[str, str],
    tally: Tally,
) -> list[Phrase]:
    """Return the phrases of one sentence that have boxes; count the others. reasons: chain without boxes -> reason."""
    starts = word_starts(text, words)
    boxed_phrases = []
    for phrase in phrases:
        if not isinstance(phrase, dict) or not isinstance(phrase.get("phrase"), str) or "id" not in phrase:
            tally.add_problem("broken phrases", f"{sentence_position}: {str(phrase)[:80]}")
            continue
        chain = str(phrase["id"])
        types = tuple(kind for kind in _as_list(phrase.get("types")) if isinstance(kind, str))
        position = f"{sentence_position}: {phrase['phrase']!r}"
        if chain not in boxes:
            default_reason = (
                "phrases of nothing visible" if chain == "0" or "notvisual" in types else "phrases of no chain"
            )
            tally.add_problem(reasons.get(chain, default_reason), position)
            continue
        span = _find_span(phrase["phrase"], phrase.get("first_word_index"), words, starts)
        if span is None:
            tally.add_problem("phrases that do not match their sentence", position)
        else:
            tally.add("phrases with boxes")
            boxed_phrases.append(Phrase(*span, boxes[chain], types))
    return boxed_phrases


def word_starts(text: str, words: tuple[str, ...]) -> list[int] | None:
    """Return, for each white-space token of a text, the number of the text's words before it.

    None if the words of the tokens together are not the words of the text.
    """
    tokens = [_token_words(token) for token in text.split()]
    if tuple(word for token in tokens for word in token) != words:
        return None
    return list(accumulate((len(token) for token in tokens), initial=0))[:-1]


@functools.lru_cache(maxsize=1 << 15)
def _token_words(token: str) -> tuple[str, ...]:
    return tuple(tokenise(token))


def _find_span(phrase: str, token: Any, words: tuple[str, ...], starts: list[int] | None) -> tuple[int, int] | None:
    """Return the first and last word of a phrase that starts at a token of its sentence; None if it is not there.

    A possessive at the end is dropped, so that the last word is a noun: "dog" in "the dog 's".
    """
    if starts is None or type(token) is not int or not 0 <= token < len(starts):
        return None
    first, phrase_words = starts[token], tuple(tokenise(phrase))
    if not phrase_words or words[first : first + len(phrase_words)] != phrase_words:
        return None
    size = len(phrase_words) - (len(phrase_words) > 1 and phrase_words[-1] == "'s")
    return first, first + size - 1


def _merge_phrases(phrases: list[Phrase]) -> list[Phrase]:
    """Merge phrases of the same words, with the boxes and types of all; in the order of the words."""
    spans: dict[tuple[int, int], list[Phrase]] = {}
    for phrase in phrases:
        spans.setdefault((phrase.first, phrase.last), []).append(phrase)
    return [Phrase(*span, *_unite(duplicates)) for span, duplicates in sorted(spans.items())]


def _unite(phrases: list[Phrase]) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    boxes = dict.fromkeys(box for phrase in phrases for box in phrase.boxes)
    return tuple(boxes), tuple(dict.fromkeys(kind for phrase in phrases for kind in phrase.types))


def _build_things(heads: Mapping[str, list[Phrase]]) -> list[Thing]:
    """Convert head nouns and their phrases to one object for each noun, singular and plural together.

    An object has the boxes of every chain that its noun names, because "dog" in a caption does not say which dog. A
    chain with several nouns (dog, animal) is therefore part of several objects.
    """
    families: dict[str, list[str]] = {}
    for head in heads:
        families.setdefault(singular(head), []).append(head)
    return [
        Thing(frozenset([noun, plural(noun), *family]), *_unite([phrase for head in family for phrase in heads[head]]))
        for noun, family in families.items()
    ]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
