"""Made-up figures of the bottleneck, in the form of the recipe's table.json."""

from typing import Any

BLEU = {
    "single": {
        "attention": [(38, 36, 31), (40, 37, 32)],
        "last state": [(37, 30, 14), (36, 31, 13)],
        "mean": [(30, 20, 9), (30, 20, 9)],
    },
    "joined": {
        "attention": [(37, 35), (37, 35)],
        "last state": [(20, 8), (21, 7)],
        "mean": [(18, 5), (16, 6)],
    },
}
"""Kind of sentences -> variant -> BLEU of each length group, for each seed."""
GROUPS = {"single": ("up to 10", "11-15", "16-20"), "joined": ("21-30", "over 30")}


def bottleneck_table() -> dict[str, Any]:
    """Return made-up contents of table.json: 100 sentences and a cost of 150.0 for each length group."""
    results = {
        kind: {
            name: [
                {group: {"sentences": 100, "bleu": value, "chrf": 50.0, "signature": "", "cost": 150.0}
                 for group, value in zip(GROUPS[kind], values, strict=True)}
                for values in runs
            ]
            for name, runs in variants.items()
        }
        for kind, variants in BLEU.items()
    }  # fmt: skip
    return {"source": "en", "target": "de", "pairs": 12_000, "epochs": 10, "seeds": 2, "results": results}
