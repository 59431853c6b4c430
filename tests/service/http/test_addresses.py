"""A host and a port become listening sockets, or an error that says what to do."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest

from captioner.errors import ConfigError
from service.http.addresses import bind, bind_error, url_of


@pytest.fixture
def bound() -> Iterator:
    """`bind`, whose sockets are closed after the test."""
    with contextlib.ExitStack() as opened:

        def bind_for_now(host: str, port: int = 0) -> list[socket.socket]:
            return [opened.enter_context(sock) for sock in bind(host, port)]

        yield bind_for_now


def resolve_to(monkeypatch, *addresses: tuple[socket.AddressFamily, str]) -> None:
    def getaddrinfo(host, port, *_, **__):
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_port_zero_binds_a_free_port_that_refuses_clients_until_the_server_listens(bound):
    (sock,) = bound("127.0.0.1")
    address = sock.getsockname()
    assert address[1] > 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
    sock.listen()
    socket.create_connection(address, timeout=5).close()


def test_all_addresses_of_a_name_get_the_same_port(bound, monkeypatch):
    resolve_to(monkeypatch, (socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1"))
    first, second = bound("a-name")
    assert first.getsockname() == ("127.0.0.1", second.getsockname()[1]) and second.getsockname()[0] == "127.0.0.2"


def test_an_address_that_the_machine_lacks_is_skipped_if_another_exists(bound, monkeypatch):
    resolve_to(monkeypatch, (socket.AF_INET, "192.0.2.1"), (socket.AF_INET, "127.0.0.1"))
    (sock,) = bound("a-name")
    assert sock.getsockname()[0] == "127.0.0.1"


def test_ipv6_leaves_the_port_of_ipv4_free(bound):
    try:
        (six,) = bound("::1")
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    (four,) = bound("127.0.0.1", six.getsockname()[1])
    assert four.getsockname()[1] == six.getsockname()[1]


def test_a_port_in_use_is_refused(bound):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is already in use.* --port or CAPTIONER_PORT"):
            bound("127.0.0.1", port)


def test_bound_sockets_are_closed_when_another_address_fails(bound, monkeypatch):
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        resolve_to(monkeypatch, (socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2"))
        with pytest.raises(ConfigError, match="in use"):
            bound("a-name", port)
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "300.1.2.3.4", "a" * 70 + ".b", "nul\0"])
def test_an_unknown_host_is_refused(bound, host):
    with pytest.raises(ConfigError, match="has no address .*--host or CAPTIONER_HOST"):
        bound(host)


def test_an_address_of_another_machine_is_refused(bound):
    with pytest.raises(ConfigError, match="192.0.2.1 is not an address of this machine.*--host or CAPTIONER_HOST"):
        bound("192.0.2.1")


def test_a_privileged_port_is_refused_with_advice():
    assert "set a port above 1023" in str(bind_error("127.0.0.1", 80, PermissionError(errno.EACCES, "denied")))


def test_other_errors_keep_the_systems_message():
    assert "(No buffer space)" in str(bind_error("127.0.0.1", 80, OSError(errno.ENOBUFS, "No buffer space")))


@pytest.mark.parametrize(
    "host, url",
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
    ],
)
def test_the_url_can_be_opened_in_a_browser(host, url):
    assert url_of(host, 80) == url
