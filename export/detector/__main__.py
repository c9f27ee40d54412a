"""Builds the voice activity detector for browsers: the C code inside webrtcvad-wheels, to WebAssembly.

    apt-get install clang lld
    pip download --no-binary :all: --no-deps webrtcvad-wheels==2.0.14.post1
    python -m export.detector webrtcvad_wheels-2.0.14.post1.tar.gz

The result is kept in git (s2f_edge/service/web/device/detector.wasm), since it is small and few
people have the compiler; a test compares it with the detector that Python runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "s2f_edge" / "service" / "web" / "device" / "detector.wasm"
FLAGS = (
    "--target=wasm32", "-nostdlib", "-ffreestanding", "-O2", "-DWEBRTC_POSIX",
    "-D__pnacl__",  # of the machines that its typedefs.h knows, the one that is like this
    "-Wno-everything", "-Wl,--no-entry", "-Wl,-z,stack-size=16384", "-Wl,--strip-all",
)  # fmt: skip


def build(sdist: Path, target: Path = TARGET) -> None:
    """Compiles the detector.

    Args:
        sdist: of webrtcvad-wheels.

    Raises:
        OSError, tarfile.TarError: it cannot be read, or there is no clang.
        subprocess.CalledProcessError: the compiler refuses.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = folder.glob("*/cbits")
        audio = source / "webrtc" / "common_audio"
        files = [HERE / "detector.c", *sorted(audio.glob("vad/*.c")), *sorted(audio.glob("signal_processing/*.c"))]
        made = folder / "detector.wasm"
        subprocess.run(
            ["clang", *FLAGS, f"-I{source}", f"-I{HERE / 'include'}", "-o", made, *files], check=True, cwd=folder
        )
        target.write_bytes(made.read_bytes())


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.detector", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sdist", type=Path, help="webrtcvad_wheels-VERSION.tar.gz")
    try:
        build(parser.parse_args(argv).sdist)
    except (OSError, tarfile.TarError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
