"""Settings of the service: environment variables, validated once at the start."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from captioner.config import DEFAULT_BUNDLE
from captioner.errors import ConfigError
from service.environment import PREFIX, Environment, variable, warn_of_unknown_variables
from service.hosts import read_names
from service.setting_values import invalid_value, postgresql_url, read_translators

if TYPE_CHECKING:
    from sqlalchemy import URL

DATABASE_FILE = "captioner.db"
"""Database file in the home folder, if no other database is set."""
REDIS_TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 3}
"""Seconds after which Redis counts as unavailable."""


def cores() -> int:
    """Return the number of cores that this process may use; a container may have fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """Settings; each field is read from the variable CAPTIONER_ plus its name in capitals.

    Values are stripped, as secret files end with a line break. An empty variable counts as unset.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=True
    )

    home: Path = Field(
        Path("~/.captioner"), description="Folder of the database and the photos, created at the first start."
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. 0.0.0.0 lets other machines connect.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on. 0 picks a free port.")
    bundle: Path | None = Field(
        None,
        description="Folder of the captioner to serve until you promote another. By default, the one that ships.",
    )
    translators: str | None = Field(
        None,
        description="Folders of translators, separated by commas, besides those that ship: FOLDER or LANGUAGE=FOLDER."
        " A folder takes the place of a translator that ships for the same language.",
    )
    device: str | None = Field(None, description="cpu, cuda, ... By default, a GPU if there is one.")
    runtime: Literal["auto", "fast", "exact"] = Field(
        "auto", description="exact gives the same captions on every machine. fast is the fastest. auto means fast."
    )
    cache: str | None = Field(
        None,
        description="Folder in which fast keeps its prepared networks, at most 500 MB, so that later starts are"
        " quicker; off keeps none. By default, captioner in the user's cache folder.",
    )
    threads: int = Field(
        default_factory=cores, ge=1, le=1024, description="Threads of the model on a CPU. By default, one per core."
    )
    batch_size: int = Field(8, ge=1, le=256, description="Maximum number of photos in one forward pass.")
    batch_window_ms: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="Milliseconds that a photo waits for others to share its batch. A lone photo never waits.",
    )
    queue_size: int = Field(
        64, ge=1, le=1024, description="Maximum number of waiting photos. Further requests get 503 with Retry-After."
    )
    deadline_seconds: float = Field(30.0, ge=0.1, le=3600, description="Seconds after which a request fails.")
    max_upload_mb: int = Field(20, ge=1, le=1024, description="Maximum size of a request, in millions of bytes.")
    max_megapixels: int = Field(
        100, ge=1, le=178, description="Maximum size of a photo, in millions of pixels. A pixel may take ten bytes."
    )
    history: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="Maximum number of captions to keep. Beyond it, the oldest are deleted. Corrected captions are kept"
        " longer, but make up no more than half.",
    )
    admin_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Secret that allows retraining, switching captioners and deleting. By default, generated at the"
        " first start. Required when other machines can connect.",
    )
    trusted_hosts: str | None = Field(
        None,
        description="Further host names, separated by commas, that the service answers to: captions.example.org, or"
        " .example.org for all names below it. * allows any name. localhost, IP addresses and the service's own host"
        " are always allowed.",
    )
    import_root: Path | None = Field(
        None, description="Folder of data sets that may be used without an upload. By default, none may."
    )
    max_dataset_mb: int = Field(
        4096,
        ge=1,
        le=1_000_000,
        description="Maximum size of an uploaded data set, packed or unpacked, in millions of bytes.",
    )
    max_home_mb: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Maximum size of the home folder, in millions of bytes. Uploads beyond it are refused. By default,"
        " the size of the disk.",
    )
    max_collections_mb: int = Field(
        20_000,
        ge=1,
        le=1_000_000_000,
        description="Maximum size of all collections together, in millions of bytes. Photos beyond it are refused until"
        " collections are deleted.",
    )
    requests_per_minute: int = Field(
        600,
        ge=0,
        le=1_000_000,
        description="Maximum number of captions, translations, occlusion maps, steps, drawn pictures, uploads and"
        " starts of trainings per minute and client address. 0 means no limit.",
    )
    worker: Literal["own", "external"] = Field(
        "own", description="own: the service starts a training worker. external: you start `python -m service worker`."
    )
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL database that replicas share, such as postgresql://USER:PASSWORD@HOST/NAME. By default,"
        " an SQLite file in the home folder.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis for the training queue and for the counts of wrong tokens and of requests, such as"
        " redis://localhost. By default, the queue is a file in the home folder, and each process counts alone.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Level of logging. info logs a line per request."
    )

    @classmethod
    def read(cls, **arguments: Any) -> Self:
        """Read the environment. Command-line arguments that are not None override it.

        Warns of unknown variables CAPTIONER_.... Raises ConfigError if a value is invalid.
        """
        warn_of_unknown_variables(cls.model_fields)
        overrides = {name: value for name, value in arguments.items() if value is not None}
        try:
            return cls(**overrides)
        except ValidationError as error:
            messages = [
                invalid_value(details, cls.model_fields[details["loc"][0]], details["loc"][0] in overrides)
                for details in error.errors()
            ]
            raise ConfigError("; ".join(messages)) from error

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, Environment(settings_cls)

    @field_validator("trusted_hosts")
    @classmethod
    def _check_hosts(cls, names: str | None) -> str | None:
        read_names(names)
        return names

    @field_validator("translators")
    @classmethod
    def _check_translators(cls, folders: str | None) -> str | None:
        read_translators(folders)
        return folders

    @field_validator("home", "bundle", "import_root")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        """Expand ~, which no shell does in unit files and container environments."""
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
            postgresql_url(url)
        return url

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            from redis.connection import parse_url  # imported here to keep the start fast

            parse_url(url.get_secret_value())
        return url

    @property
    def redis(self) -> str | None:
        """URL of Redis, with its password."""
        return self.redis_url and self.redis_url.get_secret_value()

    @property
    def database(self) -> "URL":
        """URL of the database, for SQLAlchemy."""
        from sqlalchemy import URL  # imported here to keep `--help` fast

        if self.database_url is not None:
            return postgresql_url(self.database_url)
        return URL.create("sqlite", database=str(self.home / DATABASE_FILE))

    @property
    def built_in_bundle(self) -> Path:
        return self.bundle or DEFAULT_BUNDLE

    @property
    def translator_folders(self) -> list[tuple[str | None, Path]]:
        """Language and folder of each translator in the settings; None: the language that the translator names."""
        return read_translators(self.translators)

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
    def collections_folder(self) -> Path:
        return self.home / "collections"

    @property
    def max_collections_bytes(self) -> int:
        return self.max_collections_mb * 1_000_000

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
        """Return the environment variables for a process with the same settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        plain = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in values.items()}
        return {variable(name): str(value) for name, value in plain.items() if value is not None}

    def make_home(self) -> None:
        """Create missing folders. Raises ConfigError if they are not writable."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)  # photos are private
            self.collections_folder.mkdir(mode=0o700, exist_ok=True)
            for folder in (self.photos_folder, self.datasets_folder, self.trainings_folder):
                folder.mkdir(exist_ok=True)
            for folder in (self.home, self.photos_folder):
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise ConfigError(
                f"the service cannot store its data in {self.home} ({error.strerror or error}):"
                f" set another folder with {variable('home')}"
            ) from error


def descriptions() -> dict[str, str]:
    """Return the description of each variable, with its default."""
    texts = {}
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory or field.default is None else f" Default: {field.default}."
        texts[variable(name)] = f"{field.description}{default}"
    return texts
