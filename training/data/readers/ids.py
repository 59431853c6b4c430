"""Ids in COCO's files, which some programs write as numbers in one list and as text in another."""

from collections.abc import Iterable

_MAX_DIGITS = 40  # maximum digits of a numeric id


def ids_of_other_type(ids: Iterable[int | str]) -> dict[int | str, int | str]:
    """Map ids of the other type to ids: "7" -> 7, and 7 -> "7" or "007". Ambiguous ones are left out."""
    ids = set(ids)
    candidates: dict[int | str, list[int | str]] = {}
    for image_id in ids:
        if isinstance(image_id, int):
            candidates.setdefault(str(image_id), []).append(image_id)
        elif len(image_id) <= _MAX_DIGITS and image_id.strip().isdecimal():
            candidates.setdefault(int(image_id), []).append(image_id)
    return {alias: matches[0] for alias, matches in candidates.items() if len(matches) == 1 and alias not in ids}
