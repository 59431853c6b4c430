"""Host and Origin headers are recognised as the service's own or refused."""

import pytest

from service.hosts import is_own_origin, is_trusted, read_names, trusted_names

NAMES = ["localhost", ".localhost", "captions.example.org", ".example.net"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8000", "LocalHost:8000", "localhost.", "a.localhost", "127.0.0.1", "127.0.0.1:8000",
        "127.1.2.3", "[::1]", "[::1]:8000", "[fe80::1]:80", "10.1.2.3:8000", "0.0.0.0:8000", "captions.example.org",
        "Captions.Example.org:443", "example.net", "a.b.example.net:1", None,
    ],
)  # fmt: skip
def test_the_services_own_hosts_are_trusted(host):
    assert is_trusted(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost",
        "example.org", "a.captions.example.org", "evilexample.net", "localhost@evil.example", "localhost, evil.example",
        "localhost/evil", "", " ", "::1", "[::1", "[::1]evil", "[localhost]", "localhost:x", "localhost:1:1", "1.2.3",
    ],
)  # fmt: skip
def test_other_hosts_are_not_trusted(host):
    assert not is_trusted(host, NAMES)


def test_a_star_trusts_every_host():
    assert is_trusted("evil.example", ["*"]) and not is_trusted("a b", ["*"])


@pytest.mark.parametrize(
    "setting, names",
    [
        (None, []),
        ("", []),
        ("captions.example.org", ["captions.example.org"]),
        (" a.example , .b.example;".rstrip(";"), ["a.example", ".b.example"]),
        ("A.Example:8443 *.b.example", ["a.example", ".b.example"]),
        ("10.0.0.1, 10.0.0.1:80, [::1]:80, ::1, *", ["*"]),
        ("my_service,münchen.example", ["my_service", "xn--mnchen-3ya.example"]),
    ],
)
def test_lists_of_names_are_parsed(setting, names):
    assert read_names(setting) == names


@pytest.mark.parametrize("setting", ["https://captions.example.org", "a.example/path", "a@b", "a..b", ".", "a.*.b"])
def test_an_invalid_host_name_is_refused(setting):
    with pytest.raises(ValueError, match="is not a host name"):
        read_names(setting)


def test_default_names_depend_on_the_listening_address(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Desk")
    assert trusted_names("127.0.0.1", None) == trusted_names("::1", None) == ["localhost", ".localhost"]
    assert trusted_names("localhost", "a.example") == ["localhost", ".localhost", "a.example"]
    assert trusted_names("captioner.lan", None) == ["localhost", ".localhost", "captioner.lan"]
    for everywhere in ("0.0.0.0", "::", "192.168.1.5"):
        assert trusted_names(everywhere, None) == ["localhost", ".localhost", "desk"]


@pytest.mark.parametrize(
    "origin, host",
    [
        ("http://localhost:8000", "localhost:8000"), ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"), ("http://localhost", "localhost"), ("http://localhost", "localhost:80"),
        ("http://LOCALHOST:8000", "localhost:8000"), ("http://10.1.2.3:8000", "10.1.2.3:8000"),
        ("https://captions.example.org", "captions.example.org"),  # the proxy terminates TLS
        ("https://captions.example.org", "127.0.0.1:8000"),  # the proxy sends its own Host
        ("https://captions.example.org:8443", "captions.example.org"),  # the proxy drops the port
        ("https://a.example.net", "service:8000"),
    ],
)  # fmt: skip
def test_the_services_own_origins_are_recognised(origin, host):
    assert is_own_origin(origin, host, ["captions.example.org", ".example.net"])


@pytest.mark.parametrize(
    "origin, host",
    [
        ("http://evil.example", "localhost:8000"), ("http://localhost:3000", "localhost:8000"), ("null", "localhost"),
        ("http://127.0.0.1:8000", "localhost:8000"), ("http://10.9.9.9", "10.1.2.3:8000"), ("", "localhost"),
        ("http://captions.example.org:9000", "captions.example.org:8000"), ("http://localhost:x", "localhost"),
        ("https://captions.example.org.evil.example", "captions.example.org"), ("file://localhost", "localhost"),
        ("chrome-extension://localhost", "localhost"), ("http://localhost:9000", "localhost"), ("http://a", None),
    ],
)  # fmt: skip
def test_other_origins_are_not_recognised(origin, host):
    assert not is_own_origin(origin, host, ["captions.example.org"])
