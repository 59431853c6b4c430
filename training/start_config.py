"""Architecture of the captioner or translator that a run starts from: it is kept, apart from a few extensions."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from captioner.config import DecoderConfig
from captioner.errors import ConfigError

EXTENSIONS = frozenset({("scales", 1, 2), ("query", "hidden", "hidden_word"), ("text", False, True)})
"""Options of a captioner that may change (name, from, to): it gets more input, with initial weights of 0."""

Config = TypeVar("Config", bound=DecoderConfig)


def extended_config(
    config: Config,
    changes: Mapping[str, Any],
    path: Path,
    extensions: Collection[tuple[str, Any, Any]] = EXTENSIONS,
) -> Config:
    """Return the options of the captioner or translator at `path`, changed to the wanted ones.

    extensions: changes that are allowed. Raises ConfigError for others.
    """
    for name, value in changes.items():
        current = getattr(config, name)
        if value != current and (name, current, value) not in extensions:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{flag} {value} contradicts {path}, which has {current}:"
                f" leave {flag} out, or train from scratch without --from-bundle"
            )
    return replace(config, **changes)
