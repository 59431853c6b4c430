"""Singular and plural of English nouns in captions, by rule and from a list."""

# Not by the library inflect (7.6). Told a noun in the singular, its singular_noun often gives what is no word (bu, len,
# canva, cactu), and some plurals are wrong (grandchilds, gentlemans, pantss, golves). Of the 5250 base forms of nouns
# in captioner/text/english_words.tsv it changes 191, and these rules 83. Of the 1796 other forms it misses 50 and these
# rules 70, mostly spellings that the list merges. It also takes a second to import, as it loads typeguard.

IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "knife": "knives",
    "wife": "wives",
    "life": "lives",
    "leaf": "leaves",
    "loaf": "loaves",
    "half": "halves",
    "calf": "calves",
    "shelf": "shelves",
    "wolf": "wolves",
    "scarf": "scarves",
    "hoof": "hooves",
    "elf": "elves",
    "self": "selves",
    "dwarf": "dwarves",
    "bus": "buses",
    "gas": "gases",
    "canvas": "canvases",
    "lens": "lenses",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "hero": "heroes",
    "domino": "dominoes",
    "mosquito": "mosquitoes",
    "volcano": "volcanoes",
    "quiz": "quizzes",
    "headache": "headaches",
    "mustache": "mustaches",
    "moustache": "moustaches",
    "axe": "axes",
    "tie": "ties",
    "bowtie": "bowties",
    "necktie": "neckties",
    "lie": "lies",
    "pie": "pies",
    "cookie": "cookies",
    "movie": "movies",
    "hoodie": "hoodies",
    "beanie": "beanies",
    "brownie": "brownies",
    "selfie": "selfies",
    "collie": "collies",
    "smoothie": "smoothies",
    "zombie": "zombies",
    "ski": "skis",
    "taxi": "taxis",
    "bikini": "bikinis",
}
"""Singular -> plural, for words that the rules below would get wrong in either direction."""

UNCHANGING = frozenset(
    "sheep deer reindeer moose bison cattle salmon aircraft watercraft broccoli luggage baggage furniture jewelry"
    " silverware cutlery clothes clothing pants shorts jeans trousers tights leggings overalls glasses sunglasses"
    " eyeglasses goggles binoculars scissors headphones pajamas underpants sweatpants slacks tongs stairs news"
    " headquarters tennis gymnastics billiards christmas chess series species police graffiti debris".split()
)
"""Nouns with one form for both, or with one form only."""

_SINGULAR = {plural: singular for singular, plural in IRREGULAR.items()}
_COMPOUND = ("man", "woman", "child", "shelf", "knife", "hero")  # fireman, grandchild, bookshelf, superhero
_NO_COMPOUND = frozenset("human german roman ottoman talisman shaman abdomen specimen omen ramen amen stamen".split())


def singular(word: str) -> str:
    """Return the singular of a lower-case noun, or the noun itself if it is no plural: dogs -> dog, dress -> dress."""
    if word in UNCHANGING or word in IRREGULAR or word in _NO_COMPOUND:
        return word
    if word in _SINGULAR:
        return _SINGULAR[word]
    for noun in _COMPOUND:
        if word.endswith(IRREGULAR[noun]):
            return word.removesuffix(IRREGULAR[noun]) + noun
    if not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")) or len(word) < 4:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1]


def plural(word: str) -> str:
    """Return the plural of a lower-case singular noun: bus -> buses, man -> men."""
    if word in UNCHANGING or word.endswith("fish"):
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    for noun in _COMPOUND:
        if word.endswith(noun) and word not in _NO_COMPOUND:
            return word.removesuffix(noun) + IRREGULAR[noun]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou") and len(word) > 1:
        return word[:-1] + "ies"
    return word + "s"
