"""Hostile inputs, from files: each gets its typed answer, tells nothing of the inside, and the server goes on.

A case has a path and a body, `raw` text in its place, or a field repeated many times; and the status, param and code
expected. A `times` repeats `raw` between its head and tail.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.anyio
Case = dict[str, Any]

CASES: list[Case] = [
    case for file in sorted((Path(__file__).parent / "hostile").glob("*.json")) for case in json.loads(file.read_text())
]
INSIDE = re.compile(r"Traceback|0x[0-9a-f]{6,}|site-packages|\.py\b|/root|/home|/usr|/tmp")


def body_of(case: Case) -> bytes:
    if "raw" in case:
        text = case.get("raw_head", "") + case["raw"] * case.get("times", 1) + case.get("raw_tail", "")
        return str(text).encode()
    if "unknown_keys" in case:
        return json.dumps({f"key_{at}": at for at in range(case["unknown_keys"])}).encode()
    body = case["body"]
    if "many_biases" in case:
        body = {**body, "logit_bias": dict.fromkeys(map(str, range(case["many_biases"])), 1)}
    if repeat := case.get("repeat"):
        body = {**body, repeat["field"]: repeat["value"] * repeat["times"]}
    return json.dumps(body).encode()


def headers_of(case: Case) -> list[tuple[str, str]]:
    headers = [(name, value * case.get("header_times", 1)) for name, value in case.get("headers", {}).items()]
    return headers + [(f"x-{at}", "a") for at in range(case.get("num_headers", 0))]


def test_every_case_has_an_id_of_its_own() -> None:
    ids = [case["id"] for case in CASES]
    assert len(set(ids)) == len(ids) > 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
async def test_a_hostile_input_gets_its_answer(api: Any, case: Case) -> None:
    response = await api.http.post(case["path"], content=body_of(case), headers=headers_of(case))
    expected = case["expected"]
    assert response.status_code == expected["status"], response.text[:500]
    if response.status_code != 200:
        error = response.json()["error"]
        assert error["message"] and error["type"]
        if case["path"].startswith("/v1/messages"):
            assert set(error) == {"message", "type"} and response.json()["type"] == "error"
        else:
            assert set(error) == {"message", "type", "param", "code"}
            assert error["param"] == expected.get("param", error["param"])
            assert error["code"] == expected.get("code", error["code"])
        assert len(response.content) < 2000
        # What was sent may come back (a path, a name); the server's own may not.
        assert not INSIDE.search(response.text.replace(case["path"], ""))
        assert not api.engine.requests
    for name, value in response.headers.items():
        assert "forged" not in name and "\n" not in value and len(value) <= 128
    assert not re.search(r"^data: \{\"forged\"|^set-cookie", response.text, re.MULTILINE)
    assert (await api.chat()).status_code == 200


@pytest.mark.slow
def test_no_check_is_an_assertion() -> None:
    """The same cases with assertions compiled away; pytest keeps those of the tests."""
    words = [sys.executable, "-O", "-m", "pytest", "-q", "-W", "ignore::pytest.PytestConfigWarning", __file__]
    subprocess.run(words, check=True)
