"""Ids in COCO's files, which some programs write as numbers in one list and as text in another."""

from collections.abc import Iterable

_LONGEST = 40  # maximum digits of a numeric id


def ids_of_other_type(known: Iterable[int | str]) -> dict[int | str, int | str]:
    """Map ids of the other type to ids: "7" -> 7, and 7 -> "7" or "007". Ambiguous ones are left out."""
    known = set(known)
    found: dict[int | str, list[int | str]] = {}
    for image_id in known:
        if isinstance(image_id, int):
            found.setdefault(str(image_id), []).append(image_id)
        elif len(image_id) <= _LONGEST and image_id.strip().isdecimal():
            found.setdefault(int(image_id), []).append(image_id)
    return {other: ids[0] for other, ids in found.items() if len(ids) == 1 and other not in known}
