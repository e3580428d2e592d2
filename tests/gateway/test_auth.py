"""API keys: the file, the comparison, and that no route forgets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from espalier.gateway.auth import OPEN_PATHS, KeyFileError, KeyRing, digest, is_loopback, key_from

pytestmark = pytest.mark.anyio
RING = KeyRing((("ada", digest("key of ada")), ("bob", digest("key of bob"))))
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
PATHS = """
    / /v1/chat/completions /v1/completions /v1/models /v1/models/tiny /tokenize /detokenize /metrics /nothing
    /v1/messages /v1/messages/count_tokens /v1/responses /v1/responses/x /v1/responses/x/cancel
    /v1/responses/x/input_items /v1/conversations /v1/conversations/x /v1/conversations/x/items
    /v1/conversations/x/items/y /v1/sessions /v1/sessions/x /v1/sessions/import /v1/sessions/x/fork
    /v1/sessions/x/rollback /v1/sessions/x/lease /v1/sessions/x/export /v1/sessions/x/turns /v1/sessions/x/turns/y
""".split()


def test_a_file_of_tenants_and_digests_is_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# people\n\nada {digest('one')}\nbob  {digest('two').upper()}\n")
    ring = KeyRing.load(file)
    assert (ring.tenant("one"), ring.tenant("two"), ring.tenant("three"), ring.tenant(None)) == (
        "ada",
        "bob",
        None,
        None,
    )


@pytest.mark.parametrize("text", ["", "# none\n", "ada\n", "ada secret-key\n", "a b " + "0" * 64])
def test_a_file_that_would_admit_nobody_or_holds_a_bare_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(KeyFileError) as caught:
        KeyRing.load(tmp_path / "keys")
    assert "secret-key" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_missing_file_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="'keys'"):
        KeyRing.load(tmp_path / "keys")


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer k"}, "k"),
        ({"authorization": "bearer  k"}, "k"),
        ({"x-api-key": "k"}, "k"),
        ({"authorization": "Basic k"}, None),
        ({"authorization": "Bearer "}, None),
        ({}, None),
    ],
)
def test_a_key_is_a_bearer_token_or_its_own_header(headers: dict[str, str], key: str | None) -> None:
    assert key_from(Headers(headers)) == key


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_goes_without_keys(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", ""])
def test_nothing_else_goes_without_keys(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("method", METHODS)
async def test_every_route_and_method_asks_for_a_key(make_api: Any, method: str) -> None:
    api = make_api(keys=RING)
    for path in PATHS:
        for headers in ({}, {"x-api-key": "key of eve"}, {"authorization": "Bearer key of eve"}):
            response = await api.http.request(method, path, headers=headers)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"] == "Bearer"
            # Messages tells it in words of its own.
            told = () if method == "HEAD" else response.json()["error"].values()
            assert method == "HEAD" or {"invalid_api_key", "authentication_error"} & set(told)
    assert not api.engine.requests


async def test_the_paths_above_are_all_there_are(api: Any) -> None:
    named = (await api.http.get("/")).json()["paths"]
    assert set(named) - OPEN_PATHS <= set(PATHS)


async def test_probes_need_no_key(make_api: Any) -> None:
    api = make_api(keys=RING)
    assert [(await api.http.get(path)).status_code for path in sorted(OPEN_PATHS)] == [200, 200, 200]


async def test_a_key_chooses_the_tenant(make_api: Any) -> None:
    api = make_api(keys=RING)
    for headers in ({"x-api-key": "key of ada"}, {"authorization": "Bearer key of bob"}):
        body = {"messages": [{"role": "user", "content": "x"}]}
        assert (await api.http.post("/v1/chat/completions", json=body, headers=headers)).status_code == 200
    assert [request.tenant for request in api.engine.requests] == ["ada", "bob"]
