"""How much does the service bear, and how much faster is it than one that loads its models at each request?

    python benchmarks/serve.py [--minutes 10] [--clients 16] [-- flags of s2f-edge serve]

Clients ask for a face of a clip of 6 s, each again as soon as it has its answer. First our
server and a Flask server, which does what the thesis's did with the same networks, take turns;
then ours alone bears the load, and its memory is watched. Clients and servers share the
machine; what a face costs each of them in processor time depends little on what else runs there. Needs Linux, and
flask. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import soundfile

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
BOUNDARY = "s2f-benchmark"
CLIP_S = 6.0
TURNS = 3


def clips() -> list[bytes]:
    """Forms with recordings of 6 s, as a client sends them."""
    forms = []
    for path in sorted(EXAMPLES.glob("*male.wav")):
        samples, rate = soundfile.read(path, dtype="int16")
        file = io.BytesIO()
        soundfile.write(file, samples[: round(CLIP_S * rate)], rate, format="WAV")
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n\r\n'
        forms.append(head.encode() + file.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode())
    return forms


@contextmanager
def ours(flags: list[str]) -> Iterator[tuple[int, int]]:
    """`s2f-edge serve`: (port, process id)."""
    command = [sys.executable, "-m", "s2f_edge", "serve", "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        said = process.stdout.readline()
        if "serves at" not in said:
            raise SystemExit("s2f-edge serve did not start.")
        yield int(said.rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def theirs() -> Iterator[tuple[int, int]]:
    """The Flask server: (port, process id)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, "--flask", str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


def flask_server(port: int) -> None:
    """What the thesis's server did: a request's models are loaded for it, and its files are written to a folder."""
    import tempfile

    import flask

    from s2f_edge import Speech2Face

    app = flask.Flask("thesis")

    @app.post("/v1/face")
    def face() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            clip, picture = Path(folder, "clip.wav"), Path(folder, "face.png")
            flask.request.files["file"].save(clip)
            picture.write_bytes(Speech2Face().infer(clip).picture(256))
            return flask.Response(picture.read_bytes(), mimetype="image/png")

    flask.cli.show_server_banner = lambda *_: None
    app.run("127.0.0.1", port, threaded=True)


class Load:
    """Clients that ask until they are told to end."""

    def __init__(self, port: int, clients: int) -> None:
        self.times: list[tuple[float, float]] = []  # (when, seconds) of each answer
        self.answers: Counter[str] = Counter()
        self._port = port
        self._forms = clips()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]

    def run(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        self._end.wait(seconds)
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        while not self._end.is_set():
            began = perf_counter()
            try:
                connection.request("POST", "/v1/face", self._forms[number % len(self._forms)], headers)
                answer = connection.getresponse()
                picture = answer.read()
                said = "ok" if answer.status == 200 and picture[:4] == b"\x89PNG" else f"status {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                said = type(error).__name__
                connection.close()
            self.answers[said] += 1
            self.times.append((time.time(), perf_counter() - began))

    def figures(self, seconds: float) -> dict[str, Any]:
        """Times in milliseconds, and faces per second."""
        cuts = statistics.quantiles([took for _, took in self.times], n=100, method="inclusive")
        return {
            "answers": dict(self.answers),
            "faces_per_second": round(self.answers["ok"] / seconds, 2),
            **{f"p{cut}_ms": round(cuts[cut - 1] * 1e3) for cut in (50, 95, 99)},
            "longest_ms": round(max(took for _, took in self.times) * 1e3),
        }


def megabytes(pid: int) -> tuple[float, float]:
    """Resident memory of a process, and of its children."""

    def resident(of: int) -> float:
        try:
            return int(Path(f"/proc/{of}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
        except (OSError, IndexError):
            return 0.0

    return resident(pid), sum(map(resident, children(pid)))


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_ms(pid: int) -> dict[str, float]:
    """Milliseconds of processor time so far: of the server, of its decoders, and of the clients, which are here."""

    def used(of: int) -> float:
        with contextlib.suppress(OSError):
            user, system = Path(f"/proc/{of}/stat").read_text().rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") * 1e3
        return 0.0

    return {"server": used(pid), "decoders": sum(map(used, children(pid))), "clients": time.process_time() * 1e3}


def endurance(port: int, pid: int, clients: int, minutes: float) -> dict[str, Any]:
    """A long load, with memory every 5 s; growth is between the means of the second and of the last fifth."""
    load, memory = Load(port, clients), []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(5.0):
            memory.append(sum(megabytes(pid)))
            print(f"\r{len(memory) * 5:4d} s, {sum(load.answers.values()):6d} answers, {memory[-1]:5.0f} MB",
                  end="", file=sys.stderr, flush=True)  # fmt: skip

    watcher = threading.Thread(target=watch)
    watcher.start()
    spent = cpu_ms(pid)
    load.run(minutes * 60.0)
    spent = {name: ms - spent[name] for name, ms in cpu_ms(pid).items()}
    ended.set()
    watcher.join()
    print(file=sys.stderr)
    fifth = max(1, len(memory) // 5)
    before, after = statistics.mean(memory[fifth : 2 * fifth]), statistics.mean(memory[-fifth:])
    return load.figures(minutes * 60.0) | {
        "clients": clients,
        "minutes": minutes,
        "cpu_ms_per_answer": {name: round(ms / len(load.times), 1) for name, ms in spent.items()},
        "memory_mb": {"second_fifth": round(before, 1), "last_fifth": round(after, 1), "most": round(max(memory), 1)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--turn", type=float, default=20.0, help="seconds of each server's turn; 0 leaves them out")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--flask", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("flags", nargs="*", help="of s2f-edge serve, after --")
    arguments = parser.parse_args()
    if arguments.flask:
        flask_server(arguments.flask)
        return

    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.clients} clients, clips of {CLIP_S:g} s\n")
    results: dict[str, Any] = {}
    if arguments.turn:
        turns: dict[str, list[dict[str, Any]]] = {"s2f-edge serve": [], "models loaded at each request": []}
        for _ in range(TURNS):
            for name, server in zip(turns, (ours(arguments.flags), theirs()), strict=True):
                with server as (port, _):
                    load = Load(port, arguments.clients)
                    began = perf_counter()
                    load.run(arguments.turn)
                    turns[name].append(load.figures(perf_counter() - began))
        for name, figures in turns.items():
            rates = sorted(figure["faces_per_second"] for figure in figures)
            halves = sorted(figure["p50_ms"] for figure in figures)
            errors = sum(sum(figure["answers"].values()) - figure["answers"].get("ok", 0) for figure in figures)
            print(f"{name:30} {rates[1]:6.2f} faces/s, p50 {halves[1]:6d} ms (medians of {TURNS}), {errors} errors")
        results["turns"] = turns
    if arguments.minutes:
        with ours(arguments.flags) as (port, pid):
            results["endurance"] = endurance(port, pid, arguments.clients, arguments.minutes)
        for name, value in results["endurance"].items():
            print(f"{name:18} {value}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
