"""Reader of Flickr8k as published: a token file (`name.jpg#0<tab>caption`) and a list of the photos of each split.

Flickr30k's results_20130124.token has the same syntax, without lists.
"""

import re
from pathlib import Path

from captioner.errors import DataError
from training.data.readers.caption_files import CaptionFiles, repeated_files_error
from training.data.readers.files import first_line, numbered_lines, report_unused
from training.data.readers.listing import SPLIT_NAMES, Listing
from training.data.readers.photos import PhotoFinder, is_photo

LAYOUT = "Flickr8k.token.txt with Flickr_8k.trainImages.txt, devImages.txt, testImages.txt and a folder of photos"

_TOKEN = re.compile(r"(?P<name>[^\t]+)#(?P<number>\d+)[ ]*\t(?P<caption>.*)")
_LIST = re.compile(r"(train|dev|val|test)_?images\.txt$", re.IGNORECASE)


def files(caption_files: CaptionFiles) -> list[Path]:
    """Find the token files directly in a folder, or return the single file if it is one."""
    return caption_files.choose(caption_files.top_files(), (".txt", ".token"), _is_token_file)


def subfolder_files(caption_files: CaptionFiles) -> list[Path]:
    """Find token files in subfolders, such as Flickr8k_text/, which is unpacked beside Flicker8k_Dataset/."""
    return caption_files.choose(
        [*caption_files.annotation_files(), *caption_files.other_files()], (".txt", ".token"), _is_token_file
    )


def read(path: Path, images: Path | None) -> Listing:
    """List the captions of a token file. If there are split lists, photos in none of them get the split None.

    Photos are searched for by name anywhere below the token file's folder, or below `images`.
    Raises DataError for a folder that does not hold exactly one token file.
    """
    file, lemmas = path, []
    if path.is_dir():
        caption_files = CaptionFiles(path)
        token_files, lemmas = _separate_lemmas(files(caption_files) or subfolder_files(caption_files))
        if len(token_files) > 1:
            raise repeated_files_error(token_files, path)
        if not token_files:
            raise DataError(f"{path} holds no token file: this format is {LAYOUT}")
        file = token_files[0]
    root = path if path.is_dir() else file.parent
    listing = Listing(root, PhotoFinder([images if images is not None else root], deep=True))
    captions = _read_tokens(file, listing)
    lists = [sibling for sibling in sorted(file.parent.iterdir()) if _LIST.search(sibling.name) and sibling != file]
    splits = _read_splits(lists, {name for name, _, _, _ in captions}, listing)
    for name, number, line, caption in captions:
        listing.add_photo(name, name, (name,), splits.get(name), file, line)
        listing.add_caption(name, caption, file, line, identity=number)
    if path.is_dir():
        report_unused(listing, root, [file, *lists, *lemmas])
        for lemma in lemmas:
            message = f"is not used: it holds the captions of {file.name} with the basic forms of their words"
            listing.add_problem("unused_file", lemma, None, message)
    return listing


def _separate_lemmas(token_files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Separate the token files from those of lemmas, which the release also contains."""
    lemmas = [file for file in token_files if "lemma" in file.name.lower()]
    if len(lemmas) == len(token_files):
        return token_files, []
    return [file for file in token_files if file not in lemmas], lemmas


def _is_token_file(file: Path) -> bool:
    return _TOKEN.match(first_line(file)) is not None


def _read_tokens(file: Path, listing: Listing) -> list[tuple[str, str, int, str]]:
    """Read a token file -> name, number of the caption, line number, caption."""
    captions = []
    for line, text in numbered_lines(file, listing):
        match = _TOKEN.fullmatch(text)
        if match is None:
            listing.add_problem("bad_entry", file, line, "is not of the form name.jpg#0<tab>caption")
        elif not is_photo(match["name"]):
            listing.add_problem("bad_entry", file, line, f"captions {match['name']}, which is not the name of a photo")
        else:
            captions.append((match["name"], match["number"], line, match["caption"]))
    return captions


def _read_splits(lists: list[Path], photo_names: set[str], listing: Listing) -> dict[str, str]:
    """Read the split lists: photo -> split. A photo in two lists stays in the first."""
    splits: dict[str, str] = {}
    for file in lists:
        split = SPLIT_NAMES[_LIST.search(file.name)[1].lower()]
        for line, text in numbered_lines(file, listing):
            name = text.strip()
            if name not in photo_names:
                listing.add_problem("unknown_image", file, line, f"lists {name}, which has no caption")
            elif splits.get(name, split) != split:
                listing.add_problem(
                    "two_splits", file, line, f"puts {name} into {split}, but it stays in {splits[name]}"
                )
            elif name in splits:
                listing.add_problem("repeated_entry", file, line, f"lists {name} again")
            else:
                splits[name] = split
    return splits
