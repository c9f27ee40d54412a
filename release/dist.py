"""`make dist`: the sdist and the wheel, checked, and tried as a user has them.

    python release/dist.py [--out dist] [--python 3.12]...
    python release/dist.py --try dist/s2f_edge-0.1.0-py3-none-any.whl     # nothing is built; this interpreter tries it

Each Python of the classifiers that is on this machine, or that uv can bring, downloads what `pip install
s2f-edge[cpu]` needs, installs it offline into a new environment outside the checkout, and makes a face there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "examples" / "male.wav"
MOST_MB = 60.0  # of downloads beside onnxruntime and numpy
APART = {"onnxruntime", "numpy"}
# pip is asked for these tags; of Linux's it does not know by itself that a newer one takes the older.
SYSTEMS = {
    "Windows": ["win_amd64"],
    "macOS (Apple)": ["macosx_14_0_arm64"],
    "macOS (Intel)": ["macosx_14_0_x86_64"],
    "Linux (ARM)": [f"manylinux{each}_aarch64" for each in ("_2_28", "_2_27", "_2_17", "2014")],
}
PACK = "artifacts/default", "s2f_edge/packs/default"  # in the checkout, in the wheel


class Failed(Exception):
    """What is wrong with the release, in a sentence."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds, checks and tries the sdist and the wheel.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", action="append", help="try these versions alone")
    parser.add_argument("--try", dest="wheel", type=Path, help="try this wheel with this interpreter; build nothing")
    given = parser.parse_args()
    try:
        if given.wheel:
            made = tried(given.wheel.resolve(), Path(sys.executable))
        else:
            made = released(given.out.resolve(), given.python)
    except Failed as error:
        sys.exit(f"error: {error}")
    print(made)


def released(out: Path, wanted: list[str] | None) -> str:
    """Builds into a folder, checks, and tries with every Python there is; what was done, in a line."""
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = released_version()
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT))
    sdist, wheel = out / f"s2f_edge-{version}.tar.gz", out / f"s2f_edge-{version}-py3-none-any.whl"
    for path, sizes, expected in (
        (wheel, inside_wheel(wheel), expected_in_wheel(version)),
        (sdist, inside_sdist(sdist), expected_in_sdist()),
    ):
        check_contents(path.name, sizes, expected)
        print(f"\n{path.name}, {megabytes(path.stat().st_size)}\n{table(sizes)}\n")
    run(sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel))
    run(sys.executable, "-m", "check_wheel_contents", str(wheel))

    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(facts["classifiers"]))
    done, missing = [], []
    for each in wanted or supported:
        python = interpreter(each)
        if python is None:
            missing.append(each)
        else:
            print(tried(wheel, python), "\n")
            done.append(each)
    if not done:
        raise Failed(f"none of the Pythons {', '.join(missing)} is on this machine")
    print(f"Wheels of all dependencies for Python {supported[-1]}:")
    for name, tags in SYSTEMS.items():
        print(f"  {name}: {resolved(wheel, tags, supported[-1])}")
    changes = run("git", "-C", str(ROOT), "status", "--porcelain")
    return "\n".join(
        [
            f"s2f-edge {version} works on Python {', '.join(done)}.",
            *([f"Not tried, since not on this machine: Python {', '.join(missing)}."] if missing else []),
            *(["The checkout has uncommitted changes: build again before an upload."] if changes else []),
        ]
    )


def released_version() -> str:
    """The version of the package, which the changelog must have at its top."""
    version = re.search(r'"(.+?)"', (ROOT / "s2f_edge" / "_version.py").read_text("utf-8"))
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if not version or not heading or version[1] != heading[1]:
        raise Failed(f"the package says version {version and version[1]}, CHANGELOG.md {heading and heading[1]}")
    return version[1]


# ------------------------------------------------------------------------------ contents


def tracked(*folders: str) -> set[str]:
    """Files of the checkout that git knows, under these paths."""
    return set(run("git", "-C", str(ROOT), "ls-files", "-z", "--", *folders).split("\0")) - {""}


def expected_in_wheel(version: str) -> set[str]:
    """What belongs into the wheel: the tracked files of the runtime, its pack, the licences, and what a wheel has."""
    about = f"s2f_edge-{version}.dist-info"
    pack = {name.replace(*PACK, 1) for name in tracked(PACK[0])}
    licences = {f"{about}/licenses/{name}" for name in tracked("LICENSE", "LICENSES")}
    return (
        tracked("s2f_edge")
        | pack
        | licences
        | {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    )


def expected_in_sdist() -> set[str]:
    """What belongs into the sdist; hatchling adds .gitignore."""
    documents = {"README.md", "LICENSE", "MODEL_CARD.md", "CHANGELOG.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
    return tracked("s2f_edge", PACK[0], "LICENSES") | documents


def inside_wheel(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as file:
        return {each.filename: each.compress_size for each in file.infolist()}


def inside_sdist(sdist: Path) -> dict[str, int]:
    with tarfile.open(sdist) as file:
        return {each.name.split("/", 1)[1]: each.size for each in file if each.isfile()}


def check_contents(name: str, sizes: dict[str, int], expected: set[str]) -> None:
    """Raises where a file is missing, or there is one that nobody needs."""
    for what, files in (("lacks", expected - set(sizes)), ("has what it should not have:", set(sizes) - expected)):
        if files:
            raise Failed(f"{name} {what} {', '.join(sorted(files)[:10])}")


def table(sizes: dict[str, int]) -> str:
    """Folders of two levels, with the number of their files and their size."""
    counts: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for name, size in sizes.items():
        parent = PurePosixPath(name).parent
        folder = "/".join(parent.parts[:3]) if parent.parts[:2] == ("s2f_edge", "packs") else "/".join(parent.parts[:2])
        counts[folder or "."] += 1
        total[folder or "."] += size
    return "\n".join(f"  {megabytes(total[each]):>9}  {counts[each]:3} files  {each}" for each in sorted(counts))


def megabytes(size: float) -> str:
    return f"{size / 1e6:.2f} MB"


# ------------------------------------------------------------------------------- trying


def interpreter(version: str) -> Path | None:
    """A Python of this version: on the path, of pyenv, or one that uv has or brings."""
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [shutil.which(f"python{version}"), *map(str, sorted((home / "versions").glob(f"{version}.*/bin/python")))]
    if uv := shutil.which("uv"):
        subprocess.run([uv, "python", "install", version], capture_output=True, check=False)
        found.append(subprocess.run([uv, "python", "find", version], capture_output=True, text=True).stdout.strip())
    for each in filter(None, found):
        says = "import sys; print('%d.%d' % sys.version_info[:2])"
        said = subprocess.run([each, "-c", says], capture_output=True, text=True, check=False)
        if said.stdout.strip() == version:  # pyenv's shims are on the path, and may lead nowhere
            return Path(each)
    return None


def tried(wheel: Path, python: Path) -> str:
    """Downloads, installs and runs in a folder outside the checkout; what was found, in some lines.

    Raises:
        Failed: a step goes wrong, or too much is downloaded.
    """
    with tempfile.TemporaryDirectory(prefix="s2f-dist-") as folder:
        here = Path(folder)
        environment, downloads = here / "environment", here / "downloads"
        run(str(python), "-m", "venv", str(environment))
        programs = environment / ("Scripts" if os.name == "nt" else "bin")
        pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "download", "--quiet", "--dest", str(downloads), f"{wheel}[cpu]", here=here)
        sizes = {path.name: path.stat().st_size for path in downloads.iterdir()}
        run(*pip, "install", "--quiet", "--no-index", "--find-links", str(downloads), f"{wheel}[cpu]", here=here)
        run(*pip, "check", here=here)
        version = run(str(programs / "python"), "--version", here=here).strip()
        return f"{version}: {used(programs, here)}\n{downloaded(sizes)}"


def used(programs: Path, here: Path) -> str:
    """Makes a face with what is installed, as a user would."""
    command, python = str(programs / "s2f-edge"), str(programs / "python")
    shutil.copy(CLIP, here / "clip.wav")
    where = run(python, "-c", "import s2f_edge; print(s2f_edge.__file__)", here=here).strip()
    if here.resolve() not in Path(where).resolve().parents:
        raise Failed(f"the environment imports {where}, which is not the wheel's")
    run(command, "pack", "verify", here=here)
    run(command, "infer", "clip.wav", "--gender", "male", "--out", "face.png", here=here)
    seen = run(python, "-c", "from PIL import Image; print(*Image.open('face.png').size)", here=here).split()
    run(command, "provenance", "face.png", here=here)
    run(command, "talk", "clip.wav", "--out", "face.webp", here=here)  # mp4 needs the extra media
    video = megabytes((here / "face.webp").stat().st_size)
    return f"a face of {'x'.join(seen)} pixels and a video of {video}"


def downloaded(sizes: dict[str, int]) -> str:
    """The downloads, largest first, and their sum beside onnxruntime and numpy.

    Raises:
        Failed: that is over the limit.
    """
    apart = {name for name in sizes if name.split("-")[0].lower() in APART}
    beside = sum(size for name, size in sizes.items() if name not in apart) / 1e6
    lines = [f"  {megabytes(size):>9}  {name}" for name, size in sorted(sizes.items(), key=lambda each: -each[1])]
    if beside > MOST_MB:
        raise Failed(f"{beside:.1f} MB of downloads beside onnxruntime and numpy; at most {MOST_MB:g} are wanted")
    return "\n".join(
        [*lines, f"  beside onnxruntime and numpy: {beside:.1f} MB; all: {sum(sizes.values()) / 1e6:.1f} MB"]
    )


def resolved(wheel: Path, tags: list[str], python: str) -> str:
    """Whether pip finds wheels of all dependencies for a system and a Python, or what it lacks."""
    with tempfile.TemporaryDirectory() as folder:
        said = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--target", folder,
             *(word for tag in tags for word in ("--platform", tag)),
             "--python-version", python, "--only-binary", ":all:", f"{wheel}[cpu]"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    lacking = re.findall(r"No matching distribution found for (\S+)", said.stderr)
    return "all there" if said.returncode == 0 else f"NO ({', '.join(lacking) or said.stderr.strip()[-200:]})"


def clean() -> dict[str, str]:
    """The environment without what would lead a Python back into the checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*words: str, here: Path | None = None) -> str:
    """What a command prints.

    Raises:
        Failed: it is missing or goes wrong, with the end of what it said.
    """
    try:
        done = subprocess.run(
            words, cwd=here, env=clean(), capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise Failed(f"{words[0]} cannot be started: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise Failed(f"{' '.join(map(str, words))} ended with status {done.returncode}: {said}")
    return done.stdout


if __name__ == "__main__":
    main()
