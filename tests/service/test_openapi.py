"""The OpenAPI document, tried against the service by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Server


@pytest.mark.slow
def test_schemathesis_finds_no_fault(live_server: Server, tmp_path: Path) -> None:
    schemathesis = Path(sys.executable).parent / "schemathesis"
    # What is generated for a file is no speech, and is refused with a problem that the document has.
    flags = ["--exclude-checks", "positive_data_acceptance", "--generation-deterministic", "--max-examples", "20"]
    run = subprocess.run(
        [schemathesis, "run", f"{live_server.url}/openapi.json", *flags, "--no-color", "--continue-on-failure"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout
    assert "Tested: 14" in run.stdout


def test_the_document_says_what_is_prohibited_and_what_is_limited(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for use in ("identifying", "law enforcement", "ethnicity"):
        assert use in document["info"]["description"]
    fields = document["paths"]["/v1/face"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert fields["required"] == ["file"]
    assert fields["properties"]["samples"]["maximum"] == 16
    assert "keep_hours" not in fields["properties"]  # without a store


def test_an_address_says_all_its_methods(client: httpx.Client) -> None:
    answer = client.put(f"/v1/faces/{'0' * 32}")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "DELETE, GET"
