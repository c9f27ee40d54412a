"""What the page asks the server for; and a server that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from s2f_train.study.answers import read_answers
from s2f_train.study.design import trials_of
from s2f_train.study.serve import create_app
from s2f_train.study.study import ANSWERS, Study, StudyError
from tests.train.study.made_study import answer_of, made_study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return made_study(tmp_path / "study", voices=12, each=(6, 2, 3))


@pytest.fixture
def client(tmp_path: Path, study: Study) -> Iterator[TestClient]:
    app = create_app(tmp_path / "study", people=2)
    yield TestClient(app)
    app.state.answers.close()


def begin(client: TestClient | httpx.Client) -> dict[str, str]:
    """The headers of a new person."""
    response = client.post("/api/people", json={"language": "en"})
    assert response.status_code == 201
    return {"Study-Key": response.json()["key"]}


def send(client: TestClient | httpx.Client, who: dict[str, str], place: int, given: Any) -> httpx.Response:
    return client.post("/api/answers", headers=who, json={"place": place, "given": given, "ms": 500, "plays": 1})


def test_a_person_answers_all(client: TestClient, study: Study, tmp_path: Path) -> None:
    about = client.get("/api/study").json()
    assert about["trials"] == study.trials == 14
    assert "never an identification" in " ".join(about["consent"]["en"])
    assert "لا يدل أبدًا على هوية" in " ".join(about["consent"]["ar"])
    who, trials = begin(client), trials_of(study, 0)
    asked = client.get("/api/next", headers=who).json()
    for place, trial in enumerate(trials):
        assert (asked["place"], asked["answered"], asked["done"]) == (place, place, False)
        assert asked["first"] == (place == 0 or trials[place - 1].task != trial.task)
        assert {name: asked[name] for name in trial.shown} == trial.shown
        asked = send(client, who, place, answer_of(trial, True, lambda _: 4)).json()
    assert asked == {"answered": 14, "of": 14, "done": True}
    person = read_answers(tmp_path / "study", study)[0]
    assert [answer.given for answer in person.answers] == [answer_of(t, True, lambda _: 4) for t in trials]


def test_what_is_sent_twice_is_kept_once(client: TestClient, study: Study) -> None:
    who = begin(client)
    given = answer_of(trials_of(study, 0)[0], True, lambda _: 1)
    assert send(client, who, 0, given).json() == send(client, who, 0, given).json()
    assert client.get("/api/next", headers=who).json()["place"] == 1


def test_what_is_no_answer_is_refused(client: TestClient) -> None:
    who = begin(client)
    for place, given in ((0, "middle"), (99, "left"), (-1, "left"), (0, True), (0, None), (0, {"fit": 1.5})):
        assert send(client, who, place, given).status_code == 422
    late = client.post("/api/answers", headers=who, json={"place": 0, "given": "left", "ms": 10**12, "plays": 1})
    assert late.status_code == 422
    assert client.get("/api/next", headers=who).json()["answered"] == 0


def test_nobody_without_a_key(client: TestClient) -> None:
    for headers in ({}, {"Study-Key": "x"}, {"Study-Key": ""}):
        assert client.get("/api/next", headers=headers).status_code == 401
        assert send(client, headers, 0, "left").status_code == 401
        assert client.delete("/api/answers", headers=headers).status_code == 401


def test_a_full_study(client: TestClient) -> None:
    begin(client)
    begin(client)
    refused = client.post("/api/people", json={"language": "en"})
    assert refused.status_code == 409
    assert "2 people have begun" in refused.json()["detail"]


def test_answers_are_taken_back(client: TestClient, study: Study, tmp_path: Path) -> None:
    who, other = begin(client), begin(client)
    for one, number in ((who, 0), (other, 1)):
        send(client, one, 0, answer_of(trials_of(study, number)[0], True, lambda _: 1))
    assert client.delete("/api/answers", headers=who).status_code == 204
    assert client.get("/api/next", headers=who).status_code == 401
    assert [person.number for person in read_answers(tmp_path / "study", study)] == [1]


def test_files_are_those_of_the_study_alone(client: TestClient, study: Study) -> None:
    sound, picture = study.voices[0].sound, study.voices[0].beside
    assert client.get(f"/media/{sound}").headers["content-type"] == "audio/flac"
    assert client.get(f"/media/{picture}").headers["content-type"] == "image/png"
    assert client.get(f"/media/{sound}", headers={"Range": "bytes=0-9"}).status_code == 206  # Safari asks so
    for path in ("study.json", ANSWERS, "..%2fstudy.json", "../study.json", "%2e%2e/answers.sqlite", "README.md"):
        assert client.get(f"/media/{path}").status_code == 404
        assert client.get(f"/{path}").status_code == 404
    assert client.get("/serve.py").status_code == 404


def test_the_page_may_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/app.js", "/trial.js", "/strings.ar.js", "/style.css", "/i18n.js", "/icons/icon.svg"):
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert response.headers["cache-control"] == "no-cache"
        assert "https://" not in response.text
    assert "Made" in client.get("/api/study").json()["title"]


def test_without_a_text_to_agree_to_it_does_not_start(tmp_path: Path) -> None:
    made_study(tmp_path / "study", voices=12)
    (tmp_path / "study" / "consent.ar.txt").write_text(" \n\n")
    with pytest.raises(StudyError, match=r"consent\.ar\.txt is empty"):
        create_app(tmp_path / "study")
    (tmp_path / "study" / "consent.en.txt").unlink()
    with pytest.raises(StudyError, match=r"consent\.en\.txt cannot be read"):
        create_app(tmp_path / "study")


# ------------------------------------------------------------------- a process of its own


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "s2f_train", "study", "serve", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    said = process.stdout.readline()
    if "serves at" not in said:
        assert process.stderr
        raise RuntimeError(process.stderr.read())
    return process, said.split()[-1]


@pytest.mark.slow
def test_answers_outlive_kill_9_and_the_person_goes_on(tmp_path: Path, study: Study) -> None:
    trials = trials_of(study, 0)
    process, address = start(tmp_path / "study")
    with httpx.Client(base_url=address, timeout=60) as client:
        who = begin(client)
        for place in range(5):
            assert send(client, who, place, answer_of(trials[place], True, lambda _: 2)).status_code == 200
    os.kill(process.pid, signal.SIGKILL)  # the last answer was acknowledged this moment
    process.communicate()
    process, address = start(tmp_path / "study")
    with httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/api/next", headers=who).json()["place"] == 5
        client.get(
            "/api/next?name=secret-name", headers={**who, "X-Forwarded-For": "203.0.113.7", "User-Agent": "secret"}
        )
    process.send_signal(signal.SIGTERM)
    out, log = process.communicate(timeout=60)
    assert process.returncode == 0
    person = read_answers(tmp_path / "study", study)[0]
    assert [answer.given for answer in person.answers] == [answer_of(t, True, lambda _: 2) for t in trials[:5]]
    kept = out + log + "".join(
        file.read_bytes().decode("latin-1") for file in (tmp_path / "study").iterdir() if file.is_file()
    )  # fmt: skip
    for secret in ("203.0.113.7", "secret", who["Study-Key"]):
        assert secret not in kept


@pytest.mark.slow
def test_serving_needs_no_torch_and_no_model(tmp_path: Path) -> None:
    code = (
        "import sys; import s2f_train.cli.main, s2f_train.study.serve; "
        "print([name for name in ('torch', 'onnxruntime', 'dlib', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_port_that_is_taken(tmp_path: Path, study: Study) -> None:
    process, address = start(tmp_path / "study")
    port = address.rpartition(":")[2]
    try:
        command = [sys.executable, "-m", "s2f_train", "study", "serve", str(tmp_path / "study"), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        process.kill()
        process.communicate()
    assert done.returncode == 1
    assert f"error: Cannot listen on 127.0.0.1, port {port}" in done.stderr
    assert "Choose another with --port" in done.stderr
