"""A tiny parallel text, and options that train on it in seconds."""

from tests.support.photo_sets import zipped

PAIRS = [
    ("A dog runs.", "Ein Hund läuft."),
    ("A cat sleeps.", "Eine Katze schläft."),
    ("Two dogs run.", "Zwei Hunde laufen."),
    ("A red dog sleeps.", "Ein roter Hund schläft."),
    ("Two red cats run.", "Zwei rote Katzen laufen."),
    ("A blue cat runs.", "Eine blaue Katze läuft."),
    ("Two blue dogs sleep.", "Zwei blaue Hunde schlafen."),
    ("A dog and a cat.", "Ein Hund und eine Katze."),
]
SIZES = {
    "embedding_dim": 16, "hidden_dim": 16, "attention_dim": 16, "source_embedding_dim": 16, "source_hidden_dim": 16,
    "dropout": 0.1,
}  # fmt: skip
OPTIONS = {
    "epochs": 2, "batch_size": 3, "source_pieces": 60, "target_pieces": 70, "warmup_steps": 2, "learning_rate": 0.02,
    "average_decay": 0.5, "patience": 99,
}  # fmt: skip


def write_pairs(folder, split, pairs):
    for side, language in enumerate(("en", "de")):
        (folder / f"{split}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))


def zipped_pairs(splits, language="de"):
    """Return a zip of two files of lines for each split, in English and another language."""
    files = {}
    for split, pairs in splits.items():
        for side, name in enumerate(("en", language)):
            files[f"{split}.{name}"] = "".join(f"{pair[side]}\n" for pair in pairs).encode()
    return zipped(files)
