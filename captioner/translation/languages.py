"""Names of languages, and when two of them mean the same."""


def language_code(name: str) -> str:
    """Return the name of a language in the form in which names are compared: pt_BR -> pt-br."""
    return name.strip().lower().replace("_", "-")


def same_languages(first: tuple[str, str], second: tuple[str, str]) -> bool:
    """Return whether two pairs of languages are the same, apart from regions: en and de-AT are en-GB and de."""
    one, other = ([language_code(name).split("-")[0] for name in pair] for pair in (first, second))
    return one == other
