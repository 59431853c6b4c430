"""The OpenAPI document is complete, valid for version 3.1, and matches the service's behaviour."""

import re
import subprocess
import sys

import pytest

from service.access.auth import needs_token
from service.access.rates import is_costly
from service.api.schema_parts import Strict, StrictBody

OPERATIONS = {
    ("POST", "/api/captions"),
    ("GET", "/api/captions"),
    ("GET", "/api/captions/{id}"),
    ("DELETE", "/api/captions/{id}"),
    ("GET", "/api/captions/{id}/evidence"),
    ("GET", "/api/captions/{id}/steps"),
    ("GET", "/api/captions/{id}/image"),
    ("GET", "/api/captions/{id}/overlays/{number}.png"),
    ("GET", "/api/captions/{id}/figure.png"),
    ("GET", "/api/captions/{id}/matrix.png"),
    ("PUT", "/api/captions/{id}/correction"),
    ("DELETE", "/api/captions/{id}/correction"),
    ("GET", "/api/health/live"),
    ("GET", "/api/health/ready"),
    ("GET", "/api/models/current"),
    ("GET", "/api/translators"),
    ("POST", "/api/translations"),
    ("GET", "/api/translations/matrix.png"),
    ("POST", "/api/collections"),
    ("GET", "/api/collections/{id}"),
    ("GET", "/api/collections/{id}/events"),
    ("GET", "/api/collections/{id}/export"),
    ("POST", "/api/collections/{id}/cancel"),
    ("POST", "/api/collections/{id}/caption-again"),
    ("POST", "/api/collections/{id}/replace"),
    ("POST", "/api/collections/{id}/photos"),
    ("GET", "/api/collections/{id}/photos"),
    ("PATCH", "/api/collections/{id}/photos"),
    ("GET", "/api/collections/{id}/photos/{number}"),
    ("PATCH", "/api/collections/{id}/photos/{number}"),
    ("GET", "/api/collections/{id}/photos/{number}/thumbnail.jpg"),
    ("GET", "/api/collections/{id}/photos/{number}/words"),
}
GUARDED = {
    ("GET", "/api/datasets"),
    ("POST", "/api/datasets"),
    ("GET", "/api/datasets/{id}"),
    ("DELETE", "/api/datasets/{id}"),
    ("GET", "/api/datasets/{id}/thumbnails/{number}.jpg"),
    ("GET", "/api/trainings"),
    ("POST", "/api/trainings"),
    ("GET", "/api/trainings/{id}"),
    ("DELETE", "/api/trainings/{id}"),
    ("GET", "/api/trainings/{id}/events"),
    ("GET", "/api/trainings/{id}/log"),
    ("GET", "/api/trainings/{id}/samples/{number}.jpg"),
    ("POST", "/api/trainings/{id}/cancel"),
    ("POST", "/api/trainings/{id}/resume"),
    ("GET", "/api/models"),
    ("POST", "/api/models"),
    ("POST", "/api/models/rollback"),
    ("GET", "/api/models/{version}"),
    ("DELETE", "/api/models/{version}"),
    ("POST", "/api/models/{version}/promote"),
    ("GET", "/api/models/{version}/bundle.zip"),
    ("GET", "/api/models/{version}/comparison"),
    ("GET", "/api/models/{version}/comparison/{number}.jpg"),
    ("GET", "/api/collections"),
    ("PATCH", "/api/collections/{id}"),
    ("DELETE", "/api/collections/{id}"),
    ("DELETE", "/api/collections/{id}/photos"),
    ("POST", "/api/collections/{id}/dataset"),
}
"""Operations that need the token, except deleting a caption."""
LARGER = {("POST", "/api/collections"), ("POST", "/api/collections/{id}/photos")}
"""Operations whose body may be larger with the token, so that a wrong one is refused."""


@pytest.fixture
def document(client) -> dict:
    response = client.get("/openapi/openapi.json")
    assert response.status_code == 200
    return response.json()


def test_every_operation_is_described(document):
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    operations = {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert set(operations) == OPERATIONS | GUARDED
    for (method, path), operation in operations.items():
        guarded = (method, path) in GUARDED | {("DELETE", "/api/captions/{id}")}
        assert operation.get("security") == ([{"token": []}] if guarded else None), (method, path)
        assert (guarded or (method, path) in LARGER) == ("401" in operation["responses"]), (method, path)
        example = path.format(id="0" * 32, version="0" * 12, number=1)
        translates = any(parameter["name"] == "language" for parameter in operation.get("parameters", ()))
        costly = is_costly(method, example, translates)
        assert ("429" in operation["responses"]) == (guarded or costly), (method, path)
        assert guarded == needs_token(method, path.format(id="0" * 32, version="0" * 12, number=1))
        assert operation["summary"].endswith("."), (method, path)
        for status, response in operation["responses"].items():
            kinds = set(response.get("content", {}))
            assert kinds == {"application/problem+json"} or int(status) < 400, (method, path, status)
            assert "application/problem+json" not in kinds or int(status) >= 400


def test_every_reference_resolves(document):
    references = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(document)))
    assert references and references <= set(document["components"]["schemas"])


def test_the_documentation_page_loads_from_this_host_alone(client):
    page = client.get("/openapi/swagger")
    assert page.status_code == 200
    assert "http" not in page.headers["Content-Security-Policy"]
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert addresses and not [address for address in addresses if "//" in address]
    for address in addresses:
        assert client.get(f"/openapi/{address}").status_code == 200


@pytest.mark.stress
def test_the_service_conforms_to_its_document(start, tmp_path):
    """Valid and invalid requests generated from the document: no 500, and only documented statuses and shapes.

    Without a limit of rates, which has tests of its own: most requests of some operations would be refused.
    """
    running = start(requests_per_minute=0)
    checks = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
        "negative_data_rejection",
        "unsupported_method",
        "use_after_free",
    )
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi/openapi.json"]
    token = running.client.headers["Authorization"]
    options = [
        "--header",
        f"Authorization: {token}",
        "--max-examples",
        "20",
        "--generation-deterministic",
        "--no-color",
        "--checks",
        ",".join(checks),
        "--request-timeout",
        "60",  # a data set is inspected within one
    ]
    result = subprocess.run(command + options, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stdout + result.stderr
    case_count = int(re.search(r"(\d+) generated", result.stdout).group(1))
    assert case_count > 300 and f"Tested: {len(OPERATIONS | GUARDED)}" in result.stdout, result.stdout
    assert 'status="429"' not in running.client.get("/metrics").text


def subclasses(kind: type) -> set[type]:
    """Return a class with all that derive from it."""
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_bodies_of_json_take_values_of_the_documented_types_alone(client):
    bodies = {kind for kind in subclasses(Strict) if kind.__name__.endswith(("Body", "Source"))}
    assert len(bodies) >= 9 and {kind.__name__ for kind in bodies if not issubclass(kind, StrictBody)} == set()
    body = {"text": "a dog runs", "language": "de", "translations": True}
    assert client.post("/api/translations", json=body).status_code == 422
