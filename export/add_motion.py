"""A motion network into a pack that is there already, and into its variants; all else stays as it is.

python -m export.add_motion --pack artifacts/default --run runs/00000-talk
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from export.checkpoints import load_checkpoints
from export.network_file import OPSET, facts_of, network_file
from export.pack import is_pack, motion_entry
from export.verify import tensors
from s2f_edge.errors import S2FError
from s2f_edge.pack.manifest import MANIFEST
from s2f_edge.pack.pack import Pack, every_variant, variants_inside
from s2f_edge.talk.motion import MotionNetwork as Runtime
from s2f_train.folders import written_whole
from s2f_train.models.motion import MotionNetwork

FILE = "motion.onnx"


def add_motion(folder: Path, run: Path) -> dict[str, Any]:
    """Writes motion.onnx and its place in the manifests of the pack and of its variants.

    Returns:
        The manifest's entry of the file.

    Raises:
        ValueError: the run is none of `fit talk`.
        ParityError: the file is not the same function as the network.
        S2FError: there is no pack in the folder.
    """
    every_variant(folder)  # whole, before anything is written
    networks, training = load_checkpoints([run])
    network = networks.get("motion")
    if not isinstance(network, MotionNetwork):
        raise ValueError(f"{run} is no run of `fit talk`; it has {', '.join(networks) or 'no network of a pack'}.")
    pack = Pack.open(folder)
    about = pack.manifest
    facts = facts_of(about.name, about.version, about.licence, network.features)
    data, parity = network_file("motion", network, about.voice.embedding_size, facts, float16=True)
    inputs, outputs = tensors(data)
    entry = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "opset": OPSET,
        "inputs": inputs,
        "outputs": outputs,
    }
    with written_whole(folder, is_pack) as new:
        shutil.copytree(folder, new, dirs_exist_ok=True)
        (new / FILE).write_bytes(data)
        for place in (new, *variants_inside(new).values()):
            manifest = json.loads((place / MANIFEST).read_text("utf-8"))
            manifest["files"][FILE] = entry
            manifest["motion"] = motion_entry(network)
            manifest.setdefault("parity", {})[FILE] = parity
            manifest.setdefault("training", {})["motion"] = training
            if place != new:
                manifest["variant"]["of"] = Pack.open(new).sha256
            (place / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        for each in every_variant(new):
            Runtime(each)  # loads as a user would load it
    return entry


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.add_motion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack")
    parser.add_argument("--run", type=Path, required=True, help="run of `fit talk`, or a checkpoint of it")
    given = parser.parse_args(argv)
    try:
        entry = add_motion(given.pack, given.run)
    except (ValueError, S2FError, OSError) as error:  # CheckpointError and ParityError are ValueErrors
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{given.pack / FILE}: {entry['bytes'] / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
