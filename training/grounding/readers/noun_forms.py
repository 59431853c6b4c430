"""Singular and plural of English nouns, by rule and from a list: enough to find the things of photos in captions."""

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
    "bus": "buses",
    "gas": "gases",
    "canvas": "canvases",
    "lens": "lenses",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "hero": "heroes",
    "quiz": "quizzes",
    "headache": "headaches",
    "mustache": "mustaches",
    "moustache": "moustaches",
    "axe": "axes",
    "tie": "ties",
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
"""Singular -> plural, where the rules below would go wrong in either direction."""

UNCHANGING = frozenset(
    "sheep fish deer moose bison cattle aircraft broccoli luggage silverware cutlery clothes clothing pants shorts"
    " jeans trousers tights leggings overalls glasses sunglasses eyeglasses goggles binoculars scissors headphones"
    " tennis christmas chess series species police".split()
)
"""Nouns with one form for both, or with one form only."""

_SINGULAR = {plural: singular for singular, plural in IRREGULAR.items()}
_COMPOUND = ("man", "woman", "child")  # fireman, policewoman, grandchild


def singular(word: str) -> str:
    """The singular of a noun in lower case, or the noun itself where it is none: dogs -> dog, dress -> dress."""
    if word in UNCHANGING or word in IRREGULAR:
        return word
    if word in _SINGULAR:
        return _SINGULAR[word]
    for one in _COMPOUND:
        if word.endswith(IRREGULAR[one]):
            return word.removesuffix(IRREGULAR[one]) + one
    if not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")) or len(word) < 4:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1]


def plural(word: str) -> str:
    """The plural of a noun in lower case that is in the singular: bus -> buses, man -> men."""
    if word in UNCHANGING:
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    for one in _COMPOUND:
        if word.endswith(one) and word not in ("human", "german", "roman"):
            return word.removesuffix(one) + IRREGULAR[one]
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou") and len(word) > 1:
        return word[:-1] + "ies"
    return word + "s"
