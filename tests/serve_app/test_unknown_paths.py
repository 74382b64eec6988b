"""What no endpoint answers is refused in the shape of its path, before the page sees it."""

import pytest


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/nothing", 404, None),
        ("DELETE", "/v1/", 404, None),
        ("GET", "/v1/classify", 405, "POST"),
        ("PATCH", "/v1/explain", 405, "POST"),
        ("QUERY", "/v1/models", 405, "GET"),
        ("PUT", "/healthz", 405, "GET"),
        ("OPTIONS", "/readyz", 405, "GET"),
        ("TRACE", "/v2/health/ready", 405, "GET"),
        ("PROPFIND", "/v1/classify", 405, "POST"),
        ("PROPFIND", "/v2/nothing", 404, None),
        ("GET", "/v1", 404, None),
    ],
)
def test_unknown_paths_and_methods(client, method, path, status, allow):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers.get("allow") == allow
    code = "not_found" if status == 404 else "method_not_allowed"
    body = answer.json()
    assert (body if path.startswith("/v2") else body["error"])["code"] == code
