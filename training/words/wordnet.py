"""Reader of WordNet 3.0 (Princeton University): kinds of words, base forms, synonyms and hypernyms."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NOUN, VERB, ADJECTIVE, ADVERB = "nvar"
"""Kinds of words."""

_FILES = {NOUN: "noun", VERB: "verb", ADJECTIVE: "adj", ADVERB: "adv"}
_ENDINGS = {
    NOUN: [("ches", "ch"), ("shes", "sh"), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ies", "y"), ("men", "man"),
           ("s", "")],
    VERB: [("ies", "y"), ("es", "e"), ("es", ""), ("s", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")],
    ADJECTIVE: [("er", ""), ("est", ""), ("er", "e"), ("est", "e"), ("ier", "y"), ("iest", "y")],
    ADVERB: [],
}  # fmt: skip
"""WordNet's rules of detachment (morphy); doubled consonants are also undone."""
_CONCRETE = {5, 6, 8, 13, 17, 18, 20}
"""WordNet's files of visible things: animals, artifacts, bodies, food, natural objects, people, plants."""
_VISIBLE = _CONCRETE | {4, 11, 14, 15, 19, 27}
"""Also acts, events, groups, locations, phenomena, substances."""
PEOPLE = 18


@dataclass(frozen=True)
class Synset:
    file: int
    words: tuple[str, ...]
    hypernyms: tuple[int, ...]
    verbs: tuple[int, ...]
    """Offsets of the verbs that the words are derived from: surf, for surfer."""


class WordNet:
    """The database files of WordNet 3.0."""

    def __init__(self, folder: Path):
        self.senses: dict[str, dict[str, tuple[int, ...]]] = {}
        """Kind -> lemma -> offsets of its synsets, most frequent first."""
        self.synsets: dict[str, dict[int, Synset]] = {}
        self.irregular: dict[str, dict[str, list[str]]] = {}
        for kind, name in _FILES.items():
            self.senses[kind] = dict(_read_index(folder / f"index.{name}"))
            self.synsets[kind] = dict(_read_synsets(folder / f"data.{name}"))
            lines = (folder / f"{name}.exc").read_text().splitlines()
            self.irregular[kind] = {word: bases for word, *bases in map(str.split, lines)}
        self.photo_noun_senses: dict[str, Synset] = {}
        """Noun -> its sense in photos, if known."""
        self.counts = _read_counts(folder / "cntlist.rev")
        """(kind, lemma) -> counts of each sense in WordNet's tagged texts."""

    def bases(self, word: str, kind: str) -> list[str]:
        """Return the possible base forms of a word as this kind, most probable first."""
        lemmas = self.senses[kind]
        bases = [base for base in self.irregular[kind].get(word, []) if base in lemmas]
        for ending, replacement in _ENDINGS[kind]:
            if word.endswith(ending) and len(word) > len(ending) + 1:
                stem = word[: -len(ending)]
                bases.append(stem + replacement)
                if not replacement and len(stem) > 2 and stem[-1] == stem[-2]:  # running: run
                    bases.append(stem[:-1])
        bases = [base for base in dict.fromkeys(bases) if base in lemmas and base != word]
        if word not in lemmas:
            return bases
        # "Glasses" and "pants" are base forms themselves, "dogs" and "men" are not.
        is_base = not bases or self.frequency(word, kind) > self.frequency(bases[0], kind)
        return [word, *bases] if is_base or kind != NOUN else [*bases, word]

    def frequency(self, lemma: str, kind: str) -> int:
        return sum(self.counts[kind, lemma].values())

    def photo_senses(self, lemma: str) -> list[Synset]:
        """Return the one or two most probable senses of a noun in captions."""
        if lemma in self.photo_noun_senses:
            return [self.photo_noun_senses[lemma]]
        senses = [self.synsets[NOUN][offset] for offset in self.senses[NOUN][lemma]]
        counts = self.counts[NOUN, lemma]
        best = next((i for i, sense in enumerate(senses[:4]) if sense.file in _VISIBLE), 0)
        others = [
            i for i, sense in enumerate(senses)
            if i > best and sense.file in _CONCRETE and counts[i + 1] > 1 and counts[i + 1] * 3 >= counts[best + 1]
        ]  # fmt: skip
        return [senses[i] for i in [best, *others[:1]]]

    def class_sense(self, names: Sequence[str]) -> tuple[str, Synset] | None:
        """Return the word that names a class, and its sense there; None if WordNet does not have the class.

        names: the class's synonyms, such as "English setter", whose word is "setter" in the sense of a dog.
        """
        lemmas = [name.lower().replace(" ", "_") for name in names]
        lemma = lemmas[0]
        senses = [self.synsets[NOUN][offset] for offset in self.senses[NOUN].get(lemma, ())]
        if not senses:
            return None
        # Classes are objects: a setter is not a person.
        sense = max(senses, key=lambda sense: (len(set(lemmas) & set(sense.words)), sense.file in _CONCRETE - {PEOPLE}))
        word = lemma.rpartition("_")[2]
        return word, next((hypernym for hypernym in self.all_hypernyms(sense, NOUN) if word in hypernym.words), sense)

    def all_hypernyms(self, sense: Synset, kind: str) -> Iterator[Synset]:
        """Yield all hypernyms of a sense, nearest first."""
        queue, seen = list(sense.hypernyms), set()
        while queue:
            offset = queue.pop(0)
            if offset not in seen:
                seen.add(offset)
                synset = self.synsets[kind][offset]
                yield synset
                queue += synset.hypernyms


def _database_lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith("  "))  # the licence at the top is indented


def _read_index(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for line in _database_lines(path):
        lemma, _, count, *rest = line.split()
        yield lemma, tuple(int(offset) for offset in rest[-int(count) :])


def _read_synsets(path: Path) -> Iterator[tuple[int, Synset]]:
    for line in _database_lines(path):
        offset, file, _, count, *rest = line.split(" | ")[0].split()
        size = 2 * int(count, 16)
        words = tuple(word.split("(")[0].lower() for word in rest[:size:2])
        pointers = rest[size + 1 : size + 1 + 4 * int(rest[size])]
        by_sign = defaultdict(list)
        for sign, target, kind in zip(pointers[::4], pointers[1::4], pointers[2::4], strict=True):
            by_sign[sign, kind].append(int(target))
        own_kind = path.suffix[1]
        hypernyms = by_sign["@", own_kind] + by_sign["@i", own_kind]
        yield int(offset), Synset(int(file), words, tuple(hypernyms), tuple(by_sign["+", "v"]))


def _read_counts(path: Path) -> defaultdict[tuple[str, str], Counter[int]]:
    kinds = {"1": NOUN, "2": VERB, "3": ADJECTIVE, "4": ADVERB, "5": ADJECTIVE}
    counts: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for line in path.read_text().splitlines():
        key, sense, count = line.split()
        lemma, _, rest = key.partition("%")
        counts[kinds[rest[0]], lemma][int(sense)] += int(count)
    return counts
