"""Unknown variables are warned about, and those that containers inject are ignored."""

import pytest

from captioner.errors import ConfigError
from service.settings import Settings

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.mark.parametrize("name", ["CAPTIONER_PROT", "captioner_prot", "CAPTIONER_HTTP_PORT", "CAPTIONER_PORTS"])
def test_a_mistyped_variable_is_warned_about_with_a_suggestion(monkeypatch, caplog, name):
    monkeypatch.setenv(name, "8001")
    assert Settings.read().port == 8000
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"{name} is ignored because it is not a setting: did you mean CAPTIONER_PORT?"


def test_an_unknown_variable_is_warned_about(monkeypatch, caplog):
    monkeypatch.setenv("CAPTIONER_XYZZY", "")
    Settings.read()
    assert "CAPTIONER_XYZZY is ignored" in caplog.text and "--help` lists the settings" in caplog.text


KUBERNETES = {
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP": "80",
    "PORT": "tcp://10.0.0.1:80",
    "PORT_80_TCP": "tcp://10.0.0.1:80",
    "PORT_80_TCP_PROTO": "tcp",
    "PORT_80_TCP_PORT": "80",
    "PORT_80_TCP_ADDR": "10.0.0.1",
}
"""Variables that Kubernetes sets for a Service, after its name."""


@pytest.mark.parametrize("service", ["CAPTIONER", "CAPTIONER_WEB", "CAPTIONER_REDIS", "CAPTIONER_HOME"])
def test_variables_of_a_kubernetes_service_of_this_name_are_ignored(monkeypatch, caplog, service):
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(f"{service}_{name}", value)
    assert Settings.read() == Settings()
    assert Settings.read().port == 8000 and not caplog.records


def test_variables_of_a_linked_docker_container_of_this_name_are_ignored(monkeypatch, caplog):
    linked = {
        "NAME": "/web/captioner",
        "PORT": "tcp://172.17.0.5:8000",
        "PORT_8000_TCP": "tcp://172.17.0.5:8000",
        "PORT_8000_TCP_ADDR": "172.17.0.5",
        "PORT_53_UDP": "udp://172.17.0.5:53",
        "ENV_PYTHONUNBUFFERED": "1",
        "ENV_CAPTIONER_HOME": "/data",
    }
    for name, value in linked.items():
        monkeypatch.setenv(f"CAPTIONER_{name}", value)
    assert Settings.read().port == 8000 and not caplog.records


def test_a_port_argument_overrides_an_injected_port(monkeypatch):
    monkeypatch.setenv("CAPTIONER_PORT", "tcp://10.0.0.1:80")
    assert Settings.read(port="8001").port == 8001
    with pytest.raises(ConfigError, match="--port is 'tcp://10.0.0.1:80', but must be a whole number"):
        Settings.read(port="tcp://10.0.0.1:80")
