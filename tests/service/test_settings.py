"""Settings are read from the environment, and mistakes are named before the service starts."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from captioner.errors import ConfigError
from service.settings import Settings, descriptions

pytestmark = pytest.mark.usefixtures("no_settings")


def test_the_defaults_apply_without_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings.read()
    assert (settings.host, settings.port, settings.bundle, settings.device) == ("127.0.0.1", 8000, None, None)
    assert settings.home == tmp_path / ".captioner"
    assert 1 <= settings.threads <= os.cpu_count()


def test_each_variable_sets_its_field(monkeypatch):
    values = {
        "home": "/data", "host": "::1", "port": "0", "bundle": "/b", "device": "cpu", "runtime": "exact",
        "cache": "off", "threads": "3", "batch_size": "4",
        "batch_window_ms": "2.5", "queue_size": "5", "deadline_seconds": "1.5", "max_upload_mb": "6",
        "max_megapixels": "7", "history": "8", "log_level": "WARNING",
        "admin_token": "0123456789abcdef", "import_root": "/data/sets", "max_dataset_mb": "9", "worker": "external",
        "database_url": "postgresql://user:word@host/name", "redis_url": "redis://localhost",
        "max_home_mb": "10", "max_collections_mb": "12", "requests_per_minute": "11",
        "trusted_hosts": "captions.example.org",
        "translators": "de=/de",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"CAPTIONER_{name.upper()}", value)
    expected = {
        "home": Path("/data"), "host": "::1", "port": 0, "bundle": Path("/b"), "device": "cpu",
        "runtime": "exact", "cache": "off", "threads": 3,
        "batch_size": 4, "batch_window_ms": 2.5, "queue_size": 5, "deadline_seconds": 1.5, "max_upload_mb": 6,
        "max_megapixels": 7, "history": 8, "log_level": "warning",
        "admin_token": SecretStr("0123456789abcdef"), "import_root": Path("/data/sets"), "max_dataset_mb": 9,
        "worker": "external", "database_url": SecretStr("postgresql://user:word@host/name"),
        "redis_url": SecretStr("redis://localhost"),
        "max_home_mb": 10, "max_collections_mb": 12, "requests_per_minute": 11,
        "trusted_hosts": "captions.example.org",
        "translators": "de=/de",
    }  # fmt: skip
    assert Settings.read().model_dump() == expected
    assert set(expected) == set(Settings.model_fields)


def test_arguments_override_variables(monkeypatch):
    monkeypatch.setenv("CAPTIONER_PORT", "not even a number")
    monkeypatch.setenv("CAPTIONER_HOST", "0.0.0.0")
    settings = Settings.read(port="8001", host=None)
    assert (settings.port, settings.host) == (8001, "0.0.0.0")


def test_an_empty_variable_counts_as_unset(monkeypatch):
    for name in descriptions():
        monkeypatch.setenv(name, "")
    assert Settings.read().model_dump() == Settings().model_dump()


def test_white_space_around_a_value_is_removed(monkeypatch, tmp_path):
    """Secrets in files end with a line break, and lines of Windows with a carriage return."""
    values = {
        "home": f" {tmp_path} ", "host": "0.0.0.0\r", "port": " 8001\r\n", "log_level": "\tDEBUG ", "device": "  ",
        "admin_token": "0123456789abcdef\n", "database_url": "postgresql://host/name\n", "redis_url": " redis://host ",
        "worker": "external ", "trusted_hosts": " a.example\n",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"CAPTIONER_{name.upper()}", value)
    settings = Settings.read()
    assert (settings.home, settings.host, settings.port) == (tmp_path, "0.0.0.0", 8001)
    assert (settings.log_level, settings.device, settings.worker) == ("debug", None, "external")
    assert settings.admin_token.get_secret_value() == "0123456789abcdef"
    assert settings.database.database == "name" and settings.redis == "redis://host"
    monkeypatch.setenv("CAPTIONER_ADMIN_TOKEN", "0123456789\n\n\n\n\n\n\n")
    with pytest.raises(ConfigError, match="CAPTIONER_ADMIN_TOKEN is too short"):
        Settings.read()


@pytest.mark.parametrize(
    "name, value, valid",
    [
        ("PORT", "x", "a whole number from 0 to 65535"),
        ("PORT", "70000", "a whole number from 0 to 65535"),
        ("THREADS", "0", "a whole number from 1 to 1024"),
        ("BATCH_WINDOW_MS", "nan", "a number from 0 to 1000"),
        ("DEADLINE_SECONDS", "inf", "a number from 0.1 to 3600"),
        ("MAX_MEGAPIXELS", "1000", "a whole number from 1 to 178"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("HOME", "~nobody-has-this-name/x", "a path without ~"),
        ("PORT", "10.0.0.1:80", "a whole number from 0 to 65535"),
        ("TRUSTED_HOSTS", "https://captions.example.org/", "host names without https:// and paths"),
        ("TRANSLATORS", "de=/a,de=/b", "folders of translators, separated by commas, each language once"),
        ("TRANSLATORS", "a language=/a", "folders of translators"),
        ("TRANSLATORS", "de=", "folders of translators"),
        ("TRANSLATORS", "~nobody-has-this-name/x", "folders of translators"),
    ],
)
def test_an_invalid_value_is_named_with_the_valid_ones(monkeypatch, name, value, valid):
    monkeypatch.setenv(f"CAPTIONER_{name}", value)
    with pytest.raises(ConfigError) as caught:
        Settings.read()
    assert str(caught.value).startswith(f"CAPTIONER_{name} is {value!r}, but must be {valid}")


def test_several_invalid_values_are_reported_together_by_their_given_names(monkeypatch):
    monkeypatch.setenv("CAPTIONER_QUEUE_SIZE", "many")
    with pytest.raises(ConfigError, match="--host is '', but must be an address.*; CAPTIONER_QUEUE_SIZE is 'many'"):
        Settings.read(host="")


def test_settings_are_immutable():
    with pytest.raises(ValidationError):
        Settings().port = 1


def test_every_setting_is_described_with_its_default():
    texts = descriptions()
    assert list(texts)[:3] == ["CAPTIONER_HOME", "CAPTIONER_HOST", "CAPTIONER_PORT"]
    assert texts["CAPTIONER_PORT"].endswith("Default: 8000.") and "Default: ~/.captioner." in texts["CAPTIONER_HOME"]
    assert all(len(text) > 20 for text in texts.values())
    assert not any(character.isdigit() for character in texts["CAPTIONER_THREADS"]), "it varies by machine"


def test_a_folder_with_special_characters_can_hold_the_database():
    home = Path("/tmp/a b?c=d#e%41/ü")
    url = Settings(home=home).database.render_as_string(hide_password=False)
    assert make_url(url).database == str(home / "captioner.db")


def test_translators_are_folders_with_or_without_a_language(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folders = Settings(translators=" de=~/a b, runs/cs ,,pt-BR=/c").translator_folders
    assert folders == [("de", tmp_path / "a b"), (None, tmp_path / "runs" / "cs"), ("pt-BR", Path("/c"))]
    assert Settings().translator_folders == []


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_scheme_of_postgresql_urls_is_accepted(scheme):
    url = Settings(database_url=f"{scheme}://user:a%40b@host:5433/name?sslmode=require").database
    assert (url.drivername, url.password, url.port, url.query["sslmode"]) == (
        "postgresql+psycopg", "a@b", 5433, "require"
    )  # fmt: skip


@pytest.mark.parametrize(
    "name, value, valid",
    [
        ("DATABASE_URL", "mysql://user:pass-word@host/name", "not usable, but must be the URL of a PostgreSQL"),
        ("DATABASE_URL", "pass-word", "not usable, but must be the URL of a PostgreSQL"),
        ("REDIS_URL", "redis://:pass-word@host:port", "not usable, but must be the URL of a Redis: redis://HOST"),
        ("REDIS_URL", "http://:pass-word@host", "not usable, but must be the URL of a Redis: redis://HOST"),
    ],
)
def test_an_invalid_url_is_reported_without_its_value(monkeypatch, name, value, valid):
    monkeypatch.setenv(f"CAPTIONER_{name}", value)
    with pytest.raises(ConfigError, match=f"CAPTIONER_{name} is {valid}") as caught:
        Settings.read()
    assert "pass-word" not in str(caught.value)


def test_a_relative_home_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Settings(home="data").photos_folder == tmp_path / "data" / "photos"


def test_the_home_folder_is_private_to_its_owner(tmp_path):
    settings = Settings(home=tmp_path / "deep" / "home")
    settings.make_home()
    settings.make_home()
    assert settings.home.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in settings.home.rglob("*")} == {"collections", "datasets", "photos", "trainings"}


@pytest.mark.parametrize("in_the_way", ["home", "home/photos"])
def test_a_home_that_cannot_be_written_is_refused(tmp_path, in_the_way):
    path = tmp_path / in_the_way
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file")
    with pytest.raises(ConfigError, match="cannot store its data in .*home .*: set another folder with CAPTIONER_HOME"):
        Settings(home=tmp_path / "home").make_home()


def test_a_home_on_a_full_disk_is_refused(tmp_path, monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        Settings(home=tmp_path).make_home()


def test_another_process_reads_the_same_settings(monkeypatch, tmp_path):
    settings = Settings(
        home=tmp_path,
        admin_token="0123456789abcdef",
        port=0,
        batch_window_ms=2.5,
        worker="external",
        database_url="postgresql://user:word@host/name",
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.read() == settings
