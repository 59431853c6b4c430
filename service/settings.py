"""Settings of the service: environment variables, checked once at its start."""

import difflib
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from captioner.config import DEFAULT_BUNDLE
from captioner.errors import ConfigError
from service.http.hosts import read_names

if TYPE_CHECKING:
    from sqlalchemy import URL

log = logging.getLogger(__name__)

PREFIX = "CAPTIONER_"
_SECRETS = {
    "admin_token": "too short, but must be a secret of 16 characters or more",
    "database_url": "unusable, but must be the address of a PostgreSQL: postgresql://USER:PASSWORD@HOST:PORT/NAME",
    "redis_url": "unusable, but must be the address of a Redis: redis://HOST:PORT/NUMBER",
}
"""What to say of a wrong value that must not be shown: an address may hold a password."""
_HOSTS_WANTED = "host names without https:// and paths, separated by commas: captions.example.org, .example.org"
_LINK = r"(tcp|udp|sctp)://.*"
_INJECTED = {
    r"(\w+_)?SERVICE_HOST": r"[\d.]+|[\da-f:]+|None",
    r"(\w+_)?SERVICE_PORT(_\w+)?": r"\d+",
    r"(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?": _LINK,
    r"(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)": r".*",
    r"NAME": r"/.*",
    r"ENV_\w+": r".*",
}
"""What Kubernetes sets for a Service named captioner or captioner-..., and Docker for a linked container of that name:
pattern of the name after the prefix -> pattern of the value."""
DATABASE_FILE = "captioner.db"
"""In the home, where no other database is named."""
REDIS_TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 3}
"""Seconds after which a Redis that does not answer counts as away."""


def cores() -> int:
    """Those that this process may use: a container may have fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Environment(EnvSettingsSource):
    """Environment variables, without what Kubernetes and Docker inject, and without white space around values."""

    def __call__(self) -> dict[str, Any]:
        stripped = {name: value.strip() for name, value in super().__call__().items()}
        if re.fullmatch(_LINK, stripped.get("port", "")):
            del stripped["port"]
        return {name: value for name, value in stripped.items() if value}


class Settings(BaseSettings):
    """Each field is read from the variable CAPTIONER_ and its name in capitals.

    White space around a value is dropped, as files of secrets end with a line break; an empty variable counts as none.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=True
    )

    home: Path = Field(Path("~/.captioner"), description="Folder of the database and the photos; made at first start.")
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for other machines, too.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    bundle: Path | None = Field(None, description="Folder of the captioner; by default the one that ships.")
    device: str | None = Field(None, description="cpu, cuda, ...; by default a GPU where there is one.")
    runtime: Literal["auto", "fast", "exact"] = Field(
        "auto", description="exact: the same captions on every machine; fast, as auto is: as fast as it can."
    )
    threads: int = Field(
        default_factory=cores, ge=1, le=1024, description="Of the model on a CPU; by default one per core."
    )
    batch_size: int = Field(8, ge=1, le=256, description="Photos in one forward pass, at most.")
    batch_window_ms: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="Milliseconds that a photo waits for others that are likely to come; a lone one never does.",
    )
    queue_size: int = Field(
        64, ge=1, le=1024, description="Photos that may wait; beyond that, clients are told to come again."
    )
    deadline_seconds: float = Field(30.0, ge=0.1, le=3600, description="Seconds after which a request is given up.")
    max_upload_mb: int = Field(20, ge=1, le=1024, description="Size of a request, in millions of bytes, at most.")
    max_megapixels: int = Field(
        100, ge=1, le=178, description="Size of a photo, in millions of pixels, at most; each may take ten bytes."
    )
    history: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="Captions kept, at most. Beyond that the oldest go; corrected ones stay longer, but fill no more"
        " than half of the places.",
    )
    admin_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="The secret of those who may retrain, switch and delete; by default made at first start. Must be"
        " set to listen on anything but this machine.",
    )
    trusted_hosts: str | None = Field(
        None,
        description="Host names, separated by commas, under which browsers may reach the service besides localhost, its"
        " own host and IP addresses: captions.example.org, or .example.org for all names below it; * is any name.",
    )
    import_root: Path | None = Field(
        None, description="Folder of data sets that may be trained on where they lie; by default none may."
    )
    max_dataset_mb: int = Field(
        4096,
        ge=1,
        le=1_000_000,
        description="Size of a data set that is sent, in millions of bytes, at most; also of what it unpacks to.",
    )
    max_home_mb: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Size of the home folder, in millions of bytes, from which on nothing more is taken; by default"
        " the disk's.",
    )
    requests_per_minute: int = Field(
        600,
        ge=0,
        le=1_000_000,
        description="Captions, evidence, drawn pictures and uploads that one address may ask for in a minute; 0 is any"
        " number.",
    )
    worker: Literal["own", "external"] = Field(
        "own", description="Who trains: a worker that the service starts, or `python -m service worker` by itself."
    )
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL that replicas of the service share, such as postgresql://USER:PASSWORD@HOST/NAME; by"
        " default a file in the home.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis with the queue of trainings and the counts of wrong tokens and of requests, such as"
        " redis://localhost; by default a file in the home, and each process counts for itself.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is logged; info has a line per request."
    )

    @classmethod
    def read(cls, **arguments: Any) -> Self:
        """Read the environment; an argument of the command line that is not None goes before it.

        Warns of variables CAPTIONER_... that mean nothing. Raises ConfigError for a value that cannot be.
        """
        _warn_of_unknown_variables()
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise ConfigError("; ".join(_sentence(part, given) for part in error.errors())) from error

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls)

    @field_validator("trusted_hosts")
    @classmethod
    def _check_hosts(cls, names: str | None) -> str | None:
        read_names(names)
        return names

    @field_validator("home", "bundle", "import_root")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        """No shell has replaced a ~ that stands in a unit file or in a container's environment."""
        try:
            return path and path.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError from error

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: Any) -> Any:
        return level.lower() if isinstance(level, str) else level

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _postgresql(url)
        return url

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            from redis.connection import parse_url  # here, so that others do not wait for it

            parse_url(url.get_secret_value())
        return url

    @property
    def redis(self) -> str | None:
        """Address of the Redis, with its password."""
        return self.redis_url and self.redis_url.get_secret_value()

    @property
    def database(self) -> "URL":
        """Of the database, as SQLAlchemy names it."""
        from sqlalchemy import URL  # here, so that `--help` does not wait for it

        if self.database_url is not None:
            return _postgresql(self.database_url)
        return URL.create("sqlite", database=str(self.home / DATABASE_FILE))

    @property
    def built_in_bundle(self) -> Path:
        return self.bundle or DEFAULT_BUNDLE

    @property
    def photos_folder(self) -> Path:
        return self.home / "photos"

    @property
    def datasets_folder(self) -> Path:
        return self.home / "datasets"

    @property
    def trainings_folder(self) -> Path:
        return self.home / "trainings"

    @property
    def max_dataset_bytes(self) -> int:
        return self.max_dataset_mb * 1_000_000

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * 1_000_000

    @property
    def max_home_bytes(self) -> int | None:
        return None if self.max_home_mb is None else self.max_home_mb * 1_000_000

    def environment(self) -> dict[str, str]:
        """The variables from which another process reads the same settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        plain = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in values.items()}
        return {variable(name): str(value) for name, value in plain.items() if value is not None}

    def make_home(self) -> None:
        """Make the folders where they are missing. Raises ConfigError where nothing can be written into them."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)  # photos are nobody else's business
            for folder in (self.photos_folder, self.datasets_folder, self.trainings_folder):
                folder.mkdir(exist_ok=True)
            for folder in (self.home, self.photos_folder):
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise ConfigError(
                f"the service cannot keep its data in {self.home} ({error.strerror or error}):"
                f" name another folder by {variable('home')}"
            ) from error


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def descriptions() -> dict[str, str]:
    """Each variable, and what it sets, with its default."""
    texts = {}
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory or field.default is None else f" Default: {field.default}."
        texts[variable(name)] = f"{field.description}{default}"
    return texts


def _postgresql(url: SecretStr) -> "URL":
    """Raises ValueError for what is no address of a PostgreSQL."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url.get_secret_value())
    except ArgumentError as error:
        raise ValueError from error
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError
    return parsed.set(drivername="postgresql+psycopg")


def _warn_of_unknown_variables() -> None:
    known = [name.upper() for name in Settings.model_fields]
    for name, value in os.environ.items():
        own = name.upper().removeprefix(PREFIX)
        if own == name.upper() or own in known or _is_injected(own, value):
            continue
        close = difflib.get_close_matches(own, known, n=1)
        meant = f"did you mean {PREFIX}{close[0]}?" if close else "`python -m service --help` lists the settings."
        log.warning("%s is ignored, as it is no setting: %s", name, meant)


def _is_injected(name: str, value: str) -> bool:
    return any(re.fullmatch(names, name) and re.fullmatch(values, value) for names, values in _INJECTED.items())


def _sentence(part: dict[str, Any], arguments: dict[str, Any]) -> str:
    """What is wrong with one value, and what is wanted: `part` as pydantic reports it."""
    name = part["loc"][0]
    where = f"--{name}" if name in arguments else variable(name)
    if name in _SECRETS:
        return f"{where} is {_SECRETS[name]}"
    wanted = _HOSTS_WANTED if name == "trusted_hosts" else _wanted(Settings.model_fields[name])
    return f"{where} is {str(part['input'])!r}, but must be {wanted}"


def _wanted(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(get_args(field.annotation))}"
    limits = {kind: getattr(limit, kind) for limit in field.metadata for kind in ("ge", "le") if hasattr(limit, kind)}
    if limits:
        number = "a whole number" if field.annotation in (int, int | None) else "a number"
        return f"{number} from {limits['ge']} to {limits['le']}"
    return "an address or a name" if field.annotation is str else "a folder's path without ~: that home is not known"
