"""Every answer has the security headers, whichever part of the service sends it."""

import re
import socket

from service.http.headers import HEADERS, documentation_policy
from service.page import static_version

ADDRESSES = (
    "/", "/retrain", "/static/VERSION/main.js", "/examples", "/examples/dogs.jpg", "/api/captions", "/api/models",
    "/api/health/live", "/metrics", "/openapi/openapi.json", "/openapi/swagger", "/openapi/", "/nothing/here",
    "/openapi/swagger/js/swagger-ui-bundle.js",
)  # fmt: skip


def test_every_answer_has_the_security_headers(client):
    for address in ADDRESSES:
        response = client.get(address.replace("VERSION", static_version()))
        for name, value in HEADERS.items():
            assert response.headers[name] == value, address
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, address
        scripts = re.search("script-src ([^;]*)", policy)
        assert scripts is None or "unsafe-inline" not in scripts[1], address
        assert "unsafe-inline" not in policy or address.startswith("/openapi/"), address


def test_answers_of_the_server_itself_have_the_security_headers(client):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.0 400")
    for name, value in HEADERS.items():
        assert f"{name}: {value}\r\n" in answer
    assert "Content-Security-Policy: default-src 'none'" in answer


def test_the_documentation_may_run_only_its_own_scripts():
    # The digest of "alert(1)", computed by `openssl dgst -sha256 -binary | base64`.
    digest = "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    policy = documentation_policy('<script>alert(1)</script><a onclick="go()">')
    assert digest in policy and policy.count("'sha256-") == 2
    assert "sha256" not in documentation_policy("<p>plain</p>")
