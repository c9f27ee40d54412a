"""Everything that a browser needs to make faces itself, as a folder that `s2f-edge serve --on-device` takes.

    python -m export.to_browser browser/
    s2f-edge serve --on-device browser/

It holds the pack as one model (export.single_file), and beside it what draws and moves faces if the pack has that, with
weights of fewer bits (export.rounded); onnxruntime-web, the waves of the watermark, licences, and a manifest with sizes
and hashes. onnxruntime-web comes from npm, in the version and with the hash that stand here.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from export.mobile import speech_of
from export.motion_file import judge_motion, motion_file
from export.rounded import weights_rounded
from export.single_file import judge, single_file
from export.verify import ParityError
from s2f_edge._version import __version__
from s2f_edge.errors import S2FError
from s2f_edge.hearing.speech_gate import CLASSES
from s2f_edge.marks import watermark
from s2f_edge.marks.watermark_waves import carriers
from s2f_edge.pack.pack import Pack
from s2f_edge.picture import NOTICE, Provenance, texts
from s2f_edge.pipeline import MIN_SPEECH_S
from s2f_edge.results import SURE_OF_GENDER
from s2f_edge.service.device import MANIFEST, SCHEMA
from s2f_edge.talk.talk import MOST_GAIN_DB, SPEECH_DBFS
from s2f_edge.terms import GENDERS
from s2f_train.folders import written_whole

RUNTIME = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MODEL, MARKS = "face.onnx", "marks.bin"
RENDERER, ANIMATOR, MOTION = "renderer.onnx", "animator.onnx", "motion.onnx"
# Of weights. With 8 in the voice network, faces would be 35 dB from the pack's, with 8 in generators 39.
MODEL_BITS, RENDERER_BITS = 10, 9
LEAST_COSINE = 0.999
GZIP_LEVEL = 9
LICENCES = Path(__file__).resolve().parent.parent / "LICENSES"


def to_browser(folder: Path, pack: Pack, tarball: Path | None = None) -> dict[str, Any]:
    """Writes the folder and gives its manifest.

    Args:
        folder: replaced if it is one of these already, and not touched if anything fails.
        tarball: of onnxruntime-web; None asks npm for it.

    Raises:
        ValueError: the tarball is another one than is known here.
        ParityError: a face with weights of fewer bits is below 40 dB, or an embedding below a cosine of 0.999.
        OSError, subprocess.CalledProcessError: npm is missing or fails.
        FileExistsError: `folder` is something else.
    """
    runtime = _runtime(tarball)
    model = weights_rounded(single_file(pack, drawn=False), MODEL_BITS)
    contents = {MODEL: model, MARKS: marks_of(pack), **runtime}
    if pack.manifest.renderer:
        contents[RENDERER] = weights_rounded(pack.read(pack.manifest.renderer), RENDERER_BITS)
    speech = speech_of(sorted((LICENCES.parent / "examples").glob("*.wav")))
    judged = judge(model, pack, speech, renderer=contents.get(RENDERER), least_cosine=LEAST_COSINE)
    if _talk(pack):
        contents |= {ANIMATOR: pack.read(pack.manifest.animator.file), MOTION: motion_file(pack)}  # type: ignore[union-attr]
        judge_motion(contents[MOTION], pack, speech)
    with written_whole(folder, is_browser_folder) as new:
        files = {}
        for name, data in contents.items():
            packed = gzip.compress(data, GZIP_LEVEL, mtime=0)
            (new / name).write_bytes(data)
            (new / f"{name}.gz").write_bytes(packed)
            files[name] = {"bytes": len(data), "sent": len(packed), "sha256": hashlib.sha256(data).hexdigest()}
        manifest = {**_facts(pack), "files": files, "licences": _licences(new, pack), "parity": asdict(judged)}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def is_browser_folder(folder: Path) -> bool:
    """Whether a folder holds what this module writes and nothing else, so that a new one may replace it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        names = {MANIFEST, *manifest["files"], *(f"{name}.gz" for name in manifest["files"]), *manifest["licences"]}
        ours = manifest["model"] == MODEL
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return ours and {path.name for path in folder.iterdir()} <= names


def marks_of(pack: Pack) -> bytes:
    """The watermark's waves for each generator, on a face of 512 pixels.

    Returns:
        int16 (waves, 2): cycles down and across; then float32 (generators, waves, 2): real and
        imaginary part. Little-endian, generators in the manifest's order.
    """
    waves, side = carriers(), 2 * watermark.MIN_SIZE
    middle = np.exp(1j * np.pi * (waves.down + waves.across) / side)
    places = np.stack([waves.down, waves.across], axis=1).astype("<i2")
    parts = [places.tobytes()]
    for generator in pack.manifest.generators:
        payload = watermark.make_payload(generator, pack.sha256)
        wave = waves.amplitude * waves.with_payload(payload) * middle
        parts.append(np.stack([wave.real, wave.imag], axis=1).astype("<f4").tobytes())
    return b"".join(parts)


def _facts(pack: Pack) -> dict[str, Any]:
    """What the page must know of the pack and of the marks."""
    manifest = pack.manifest
    name = f"{manifest.name} {manifest.version}"
    generators = list(manifest.generators)
    return {
        "schema": SCHEMA,
        "model": MODEL,
        "renderer": RENDERER if manifest.renderer else None,
        "talk": _talk(pack),
        "runtime": RUNTIME,
        "pack": name,
        "pack_sha256": pack.sha256,
        "licence": manifest.licence,
        "notice": NOTICE,
        "generators": {generator: GENDERS.index(generator) for generator in generators},
        "embedding_size": manifest.voice.embedding_size,
        "noise_size": manifest.noise_size,
        "sounds": list(CLASSES),
        "least_speech_seconds": MIN_SPEECH_S,
        "sure_of_gender": SURE_OF_GENDER,
        "strange_surprise": manifest.traits.strange if manifest.traits else None,
        "marks": {"file": MARKS, "generators": generators, "waves": len(carriers().down)},
        "texts": {
            generator: texts(Provenance(f"s2f-edge {__version__}", name, pack.sha256, generator))
            for generator in generators
        },
    }


def _talk(pack: Pack) -> dict[str, Any] | None:
    """What the page must know of the networks that make a face speak."""
    animator, motion = pack.manifest.animator, pack.manifest.motion
    if animator is None or motion is None:
        return None
    return {
        "animator": ANIMATOR,
        "mean_shape": animator.mean_shape,
        "motion": MOTION,
        "before": motion.before,
        "after": motion.after,
        "speech_dbfs": SPEECH_DBFS,
        "most_gain_db": MOST_GAIN_DB,
    }


def _runtime(tarball: Path | None) -> dict[str, bytes]:
    """The files of onnxruntime-web, from npm's own archive."""
    with tempfile.TemporaryDirectory() as name:
        if tarball is None:
            npm = shutil.which("npm")
            if npm is None:
                raise OSError("npm is not installed, and onnxruntime-web comes from it; or give the archive: --tarball")
            done = subprocess.run([npm, "pack", RUNTIME, "--silent"], cwd=name, check=True, capture_output=True)
            tarball = Path(name) / done.stdout.decode().split()[-1]
        data = tarball.read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != INTEGRITY:
        raise ValueError(f"The archive of {RUNTIME} has {found}; {INTEGRITY} is known here. Nothing was written.")
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for file in RUNTIME_FILES:
            member = archive.extractfile(f"package/dist/{file}")
            assert member is not None
            contents[file] = member.read()
    return contents


def _licences(folder: Path, pack: Pack) -> list[str]:
    """Copies the licences of what the folder holds, and gives their names."""
    import onnxruntime

    theirs = Path(onnxruntime.__file__).parent
    sources = {
        "onnxruntime-MIT.txt": theirs / "LICENSE",
        "onnxruntime-third-party-notices.txt": theirs / "ThirdPartyNotices.txt",
        **{path.name: path for path in sorted(LICENCES.iterdir())},
    }
    for name, path in sources.items():
        (folder / name).write_bytes(path.read_bytes())
    (folder / "weights.txt").write_text(pack.manifest.licence + "\n", "utf-8")
    return [*sources, "weights.txt"]


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.to_browser", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--pack", type=Path, help="folder of the model pack (default: the installed one)")
    parser.add_argument("--tarball", type=Path, help=f"archive of {RUNTIME}, instead of a download by npm")
    parser.add_argument("--json", action="store_true", help="print the manifest")
    arguments = parser.parse_args(argv)
    try:
        manifest = to_browser(arguments.folder, Pack.open(arguments.pack), arguments.tarball)
    except subprocess.CalledProcessError as error:
        print(f"error: npm could not get {RUNTIME}: {error.stderr.decode().strip()}", file=sys.stderr)
        return 1
    except (ParityError, ValueError, S2FError, OSError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(manifest))
        return 0
    for name, entry in manifest["files"].items():
        print(f"{name:32} {entry['bytes'] / 1e6:7.2f} MB, {entry['sent'] / 1e6:6.2f} MB compressed")
    megabytes = {name: entry["sent"] / 1e6 for name, entry in manifest["files"].items()}
    more = sum(megabytes.pop(name, 0) for name in (ANIMATOR, MOTION))
    print(
        f"wrote {arguments.folder}: a browser downloads {sum(megabytes.values()):.1f} MB once, and {more:.1f} MB more "
        "when a face is to speak"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
