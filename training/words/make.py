"""Make captioner/text/english_words.tsv from WordNet 3.0, caption files and manual corrections.

Run it when the corrections or the captions change:

    python -m training.words.make /usr/share/wordnet CAPTION_FILES... > captioner/text/english_words.tsv

WordNet 3.0 (Princeton University; Debian's package `wordnet-base`) provides words, their possible kinds, synonyms and
hypernyms. The captions, text files with one caption per line (.gz or not), determine which words are needed and the
usual kind of a word in captions: "park" is a noun there and "play" a verb. Names of ImageNet's classes are included,
because a captioner can learn them. `training.words.corrections` overrides both.
"""

import gzip
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captioner.labels.names import LabelNames, imagenet_names
from captioner.text.vocabulary import tokenise
from training.words.corrections import (
    ADJECTIVES,
    BASES,
    BROADER,
    FUNCTION_WORDS,
    NOT_BROADER,
    NOT_SYNONYMS,
    NOUNS,
    NUMBERS,
    PICTURE_NOUNS,
    SAME_AS_VERB,
    SYNONYMS,
    TOO_GENERAL,
    UNRELATED,
    VERB_HYPERNYMS,
    VERBS,
)
from training.words.wordnet import ADJECTIVE, ADVERB, NOUN, PEOPLE, VERB, WordNet

MIN_COUNT = 3
"""Minimum number of occurrences of a word in the captions."""
FREQUENT = 100
"""Words with at least this many occurrences have WordNet's usual sense, others that of ImageNet's classes."""
NUMBER, PICTURE_NOUN, OTHER = "d*-"
"""Kinds of words in the file, in addition to those of `training.words.wordnet`."""


@dataclass
class Entry:
    """Line of the file."""

    kind: str
    base: str
    synonyms: set[str] = field(default_factory=set)
    broader: set[str] = field(default_factory=set)


# --- kinds of words in captions


class Contexts:
    """Neighbours of words in captions."""

    def __init__(self, captions: Iterable[Sequence[str]]):
        self.counts: Counter[str] = Counter()
        self.kind_counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Word -> noun, verb or adjective -> how often its neighbours suggest that kind."""
        noun_openers = FUNCTION_WORDS["determiners"] | NUMBERS.keys() | ADJECTIVES
        determiners, auxiliaries = FUNCTION_WORDS["determiners"], FUNCTION_WORDS["auxiliaries"]
        noun_enders = FUNCTION_WORDS["prepositions"] | FUNCTION_WORDS["conjunctions"] | auxiliaries | {""}
        verb_openers = auxiliaries | {"who", "that", "they", "he", "she", "it", "to"}
        function_words = frozenset().union(*FUNCTION_WORDS.values())
        for words in captions:
            self.counts.update(words)
            for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
                if before in noun_openers and after in noun_enders:
                    self.kind_counts[word][NOUN] += 1
                elif before in noun_openers and after not in function_words:
                    self.kind_counts[word][ADJECTIVE] += 1
                elif before in verb_openers and after in determiners | noun_enders:
                    self.kind_counts[word][VERB] += 1
                elif before not in function_words and after in determiners | noun_enders and _agree(before, word):
                    self.kind_counts[word][VERB] += 1

    def kind(self, word: str, candidates: Mapping[str, int], verb: str = "") -> str:
        """Choose one of the possible kinds of a word.

        candidates: kind -> its count in WordNet's texts. verb: base form of the word as a verb.
        """
        total, counts = sum(candidates.values()), self.kind_counts[word]
        if len(candidates) == 1:
            return next(iter(candidates))
        scores = {kind: counts[kind] + 5 * (count + 0.5) / (total + 1) for kind, count in candidates.items()}
        if VERB in scores and not word.endswith(("ing", "ed")):
            # "Train tracks in" looks like "a man tracks in", but nobody is tracking.
            scores[VERB] = min(scores[VERB], sum(self.counts[form] for form in _ing_forms(verb)))
        if NOUN in scores and ADJECTIVE not in scores:
            scores[NOUN] += counts[ADJECTIVE]  # a tennis court
        if VERB in scores and ADJECTIVE not in scores and word.endswith(("ing", "ed")):
            scores[VERB] += counts[ADJECTIVE]  # a barking dog
        return max(scores, key=scores.__getitem__)


def _ing_forms(verb: str) -> set[str]:
    return {f"{verb}ing", f"{verb.removesuffix('e')}ing", f"{verb}{verb[-1:]}ing"}


def _agree(subject: str, verb: str) -> bool:
    """Return whether a noun and a verb agree as subject and predicate: men play, a man plays."""
    plural = subject.endswith("s") or subject.endswith("men") or subject in ("people", "children")
    return verb.endswith(("ing", "ed")) or plural != verb.endswith("s")


def _kind_of(word: str, wordnet: WordNet, contexts: Contexts) -> str | None:
    """Return the kind of a word; None if neither WordNet nor the corrections have it."""
    if word in PICTURE_NOUNS:
        return PICTURE_NOUN
    if word in NUMBERS:
        return NUMBER
    if any(word in words for words in FUNCTION_WORDS.values()):
        return OTHER
    for kind, words in ((NOUN, NOUNS), (VERB, VERBS), (ADJECTIVE, ADJECTIVES), (NOUN, wordnet.photo_noun_senses)):
        if word in words:
            return kind
    candidates = {}
    for kind in (NOUN, VERB, ADJECTIVE, ADVERB):
        bases = wordnet.bases(word, kind)
        if kind == ADJECTIVE and NOUN in candidates and bases and bases[0] != word:
            continue  # "archer" is not the comparative of "arch"
        if bases:
            candidates[kind] = wordnet.frequency(bases[0], kind)
    adverb = candidates.pop(ADVERB, None)
    if not candidates:
        return None if adverb is None else OTHER
    return contexts.kind(word, candidates, next(iter(wordnet.bases(word, VERB)), ""))


def _base_of(word: str, kind: str, wordnet: WordNet) -> str:
    if word in BASES:
        return BASES[word]
    if kind == NUMBER:
        return NUMBERS[word]
    if kind == OTHER:
        return word
    return next(iter(wordnet.bases(word, NOUN if kind == PICTURE_NOUN else kind)), word)


def _find_relations(base: str, kind: str, wordnet: WordNet) -> tuple[set[str], set[str], set[str]]:
    """Return a base form's synonyms, its hypernyms, and the action of a person noun (surf, for surfer)."""
    if base not in wordnet.senses.get(kind, {}) or base in UNRELATED:
        return set(), set(), set()
    if kind == NOUN:
        senses = wordnet.photo_senses(base)
    else:
        senses = [wordnet.synsets[kind][wordnet.senses[kind][base][0]]]
    synonyms = {word for sense in senses for word in sense.words}
    hypernyms = {
        word for sense in senses for hypernym in wordnet.all_hypernyms(sense, kind) for word in hypernym.words
    } - synonyms
    if kind == VERB:  # WordNet's verb synsets are of meanings that are rare in captions
        return set(), hypernyms & VERB_HYPERNYMS, set()
    action_synsets = [
        wordnet.synsets[VERB][offset] for sense in senses if sense.file == PEOPLE for offset in sense.verbs
    ]
    actions = {word for action in action_synsets for word in action.words if base.startswith(word[:3])}
    return synonyms - {base}, hypernyms - TOO_GENERAL, actions


def make_entries(wordnet: WordNet, captions: Iterable[Sequence[str]], labels: LabelNames) -> dict[str, Entry]:
    """Return the entry of each word that is frequent in the captions, in `labels` or in the corrections.

    The classes in `labels` determine the sense of words that are rare in captions: a setter is a dog.
    """
    contexts = Contexts(captions)
    senses = [sense for names in labels.names if (sense := wordnet.class_sense(names))]
    wordnet.photo_noun_senses = {word: sense for word, sense in senses if contexts.counts[word] < FREQUENT}
    names = {word for texts in (*labels.names, *labels.words) for text in texts for word in tokenise(text)}
    corrected = {*PICTURE_NOUNS, *NUMBERS, *NOUNS, *VERBS, *ADJECTIVES, *BASES}.union(*FUNCTION_WORDS.values())
    words = {word for word, count in contexts.counts.items() if count >= MIN_COUNT} | names | corrected
    kinds = {word: kind for word in sorted(words) if (kind := _kind_of(word, wordnet, contexts))}
    bases = {word: _base_of(word, kind, wordnet) for word, kind in kinds.items()}
    bases |= {word: form for word, base in bases.items() if (form := _other_verb(word, base, kinds, wordnet))}
    # "Belongings" is a noun, and "belonging" a verb form: a base form has no other base form.
    bases = {word: base if bases.get(base, base) == base else word for word, base in bases.items()}
    entries = {word: Entry(kind, bases[word]) for word, kind in kinds.items()}
    for entry in list(entries.values()):  # only base forms have synonyms and hypernyms
        entries.setdefault(entry.base, Entry(entry.kind, entry.base))
    for word, entry in entries.items():
        if entry.base == word and entry.kind in (NOUN, VERB, ADJECTIVE):
            synonyms, broader, actions = _find_relations(word, entry.kind, wordnet)
            # Only words of the same kind: a sidewalk is a walk, but in captions "walk" is a verb.
            same_kind = {
                relation
                for relation in synonyms | broader
                if relation in entries and entries[relation].kind == entry.kind
            }
            entry.synonyms, entry.broader = synonyms & same_kind, broader & same_kind | actions
    _correct(entries)
    return entries


def _other_verb(word: str, base: str, kinds: Mapping[str, str], wordnet: WordNet) -> str | None:
    """Return a base form for a verb whose own is a noun of another meaning: "parked" is unrelated to a park.

    None if noun and verb are related by WordNet's derivations, like a ride and to ride.
    """
    if kinds[word] != VERB or kinds.get(base) != NOUN or word in BASES or word == base:
        return None
    senses = wordnet.photo_senses(base) if base in wordnet.senses[NOUN] else []
    usual = wordnet.senses[VERB].get(base, ())[:2]
    if base in SAME_AS_VERB or any(verb in usual for sense in senses for verb in sense.verbs):
        return None
    return next((form for form in sorted(_ing_forms(base)) if form in kinds), word)


def _correct(entries: dict[str, Entry]) -> None:
    """Apply the manual corrections, and keep only relations to base forms of content words."""
    for table, change in ((BROADER, set.update), (NOT_BROADER, set.difference_update)):
        for word, words in table.items():
            if word in entries:
                change(entries[entries[word].base].broader, words.split())
    for pairs, change in ((SYNONYMS, set.add), (NOT_SYNONYMS, set.discard)):
        for first, second in (pair.split() for pair in pairs.split(", ")):
            for word, synonym in ((first, second), (second, first)):
                if word in entries:
                    change(entries[entries[word].base].synonyms, synonym)
    for word, entry in entries.items():
        entry.synonyms = _bases(entry.synonyms, entries) - {word}
        entry.broader = _bases(entry.broader, entries) - {word} - entry.synonyms
        if entry.kind == NOUN and "vehicle" in entry.broader:
            entry.broader -= {"container"}  # WordNet's wheeled vehicles are containers


def _bases(words: Iterable[str], entries: Mapping[str, Entry]) -> set[str]:
    known_entries = (entries[word] for word in words if word in entries)
    return {entry.base for entry in known_entries if entry.kind in (NOUN, VERB, ADJECTIVE, NUMBER)}


def lines(entries: Mapping[str, Entry]) -> Iterator[str]:
    """Yield the lines of the file: word, kind, base form (empty if it is the word), synonyms, hypernyms."""
    yield "# English words of captions, made by training/words/make.py from WordNet 3.0: see english_words.LICENSE."
    yield "# Word, kind (n, v, a, d: number, *: noun that names no thing, -: none), base form, synonyms, hypernyms."
    for word, entry in sorted(entries.items()):
        base = "" if entry.base == word else entry.base
        columns = [word, entry.kind, base, " ".join(sorted(entry.synonyms)), " ".join(sorted(entry.broader))]
        yield "\t".join(columns).rstrip("\t")


def read_captions(paths: Iterable[Path]) -> Iterator[list[str]]:
    """Yield the words of each line; of "file#0<tab>caption", as in Flickr8k's list, only those of the caption."""
    for path in paths:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", errors="replace") as file:
            for line in file:
                yield tokenise(line.rpartition("\t")[2])


def main(arguments: Sequence[str]) -> None:
    """Print the file."""
    wordnet = WordNet(Path(arguments[0]))
    captions = read_captions(map(Path, arguments[1:]))
    for line in lines(make_entries(wordnet, captions, imagenet_names())):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
