"""Brings the voice network of a pack that was exported earlier into the form that today's export gives it.

    python -m export.rewrite --pack packs/mine --out packs/faster

For packs whose checkpoints are not at hand: the weights stay as they are, to the bit, and so does what the
manifest says of training. The new file is compared with the old one at several lengths and batch sizes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from export.blocked import blocked
from export.to_onnx import is_pack, say_what_is_gone
from export.verify import ParityError, open_session
from s2f_edge.errors import S2FError
from s2f_edge.pack.manifest import MANIFEST
from s2f_edge.pack.pack import Pack, variants_inside
from s2f_edge.pipeline import Speech2Face
from s2f_train.folders import written_whole

TOLERANCE = 1e-4  # the same numbers, added up in another order
LENGTHS = (200, 137, 33, 500)
BATCHES = (1, 2, 5)


def rewrite_pack(pack: Path, out: Path) -> float:
    """Writes the rewritten pack; gives the largest difference between the old and the new embedding.

    Raises:
        NotCamPlusPlus: the voice network is not CAM++ as `export.to_onnx` wrote it before.
        ParityError: the new file gives other numbers.
        FileExistsError: `out` exists and is no pack.
        PackError: `pack` is none.
    """
    source = Pack.open(pack)
    name = source.manifest.voice.file
    files = {file: source.read(file) for file in source.manifest.files}  # checks the hashes
    facts: dict[str, Any] = json.loads((source.folder / MANIFEST).read_text("utf-8"))
    rewritten = blocked(files[name])
    largest = _difference(files[name], rewritten)
    files[name] = rewritten
    facts["files"][name] |= {"bytes": len(rewritten), "sha256": digest(rewritten)}
    facts["parity"].setdefault(name, {})["rewritten_largest_difference"] = largest
    with written_whole(out, is_pack) as folder:
        for file, data in files.items():
            (folder / file).write_bytes(data)
        (folder / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")
        Speech2Face(folder, device="cpu")  # loads as a user would load it
    return largest


def digest(data: bytes) -> str:
    """A file's hash as the manifest has it."""
    return hashlib.sha256(data).hexdigest()


def _difference(old: bytes, new: bytes) -> float:
    sessions, random, largest = (open_session(old), open_session(new)), np.random.default_rng(7), 0.0
    for batch in BATCHES:
        for length in LENGTHS:
            features = (random.normal(size=(batch, length, 80)) * 3).astype(np.float32)
            was, now = (session.run(["embedding"], {"features": features})[0] for session in sessions)
            difference = float(np.abs(was - now).max())
            if not difference <= TOLERANCE:  # NaN fails too
                raise ParityError(
                    f"The embedding of {batch} x {length} frames differs by {difference:.2e} after the rewriting; "
                    f"{TOLERANCE:g} is allowed."
                )
            largest = max(largest, difference)
    return largest


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.rewrite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, required=True, help="folder of a pack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pack to write; may be the same")
    given = parser.parse_args(argv)
    replaced = variants_inside(given.out)
    try:
        largest = rewrite_pack(given.pack, given.out)
    except (S2FError, ParityError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say_what_is_gone(replaced)
    print(f"{given.out}: the largest difference from {given.pack} is {largest:.1e}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
