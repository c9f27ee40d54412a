"""What lets the faces of a pack speak, into a pack that is there already and its variants; all else stays as it is.

python -m export.add_talk --pack artifacts/default --run runs/00000-talk runs/00001-mouth
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from export.checkpoints import load_checkpoints
from export.network_file import facts_of, network_file
from export.pack import file_entry, is_pack, talk_entries
from s2f_edge.errors import S2FError
from s2f_edge.pack.manifest import MANIFEST
from s2f_edge.pack.pack import Pack, every_variant, variants_inside
from s2f_edge.pipeline import Speech2Face
from s2f_train.folders import written_whole

NETWORKS = ("motion", "animator")
FITS = {"motion": "fit talk", "animator": "fit mouth"}


def add_talk(folder: Path, runs: list[Path]) -> dict[str, Any]:
    """Writes motion.onnx, animator.onnx or both, and their place in the manifests of the pack and of its variants.

    Returns:
        The manifest's entries of the files.

    Raises:
        ValueError: a run is none of `fit talk` or `fit mouth`.
        ParityError: a file is not the same function as the network.
        S2FError: there is no pack in the folder.
    """
    every_variant(folder)  # whole, before anything is written
    about = Pack.open(folder).manifest
    facts = facts_of(about.name, about.version, about.licence, about.voice.features)
    found, entries, contents = {}, {}, {}
    parity, training = {}, {}
    for run in runs:
        networks, trained = load_checkpoints([run])
        ours = [name for name in NETWORKS if name in networks]
        if not ours:
            raise ValueError(
                f"{run} is not a run of {' or '.join(FITS.values())}; it has {', '.join(networks) or 'none'}."
            )
        for name in ours:
            file = f"{name}.onnx"
            found[name], training[name] = networks[name], trained
            data, parity[file] = network_file(name, networks[name], about.voice.embedding_size, facts, float16=True)
            contents[file], entries[file] = data, file_entry(data)
    with written_whole(folder, is_pack) as new:
        shutil.copytree(folder, new, dirs_exist_ok=True)
        for file, data in contents.items():
            (new / file).write_bytes(data)
        for place in (new, *variants_inside(new).values()):
            manifest = json.loads((place / MANIFEST).read_text("utf-8"))
            for key, more in (("files", entries), ("parity", parity), ("training", training)):
                manifest.setdefault(key, {}).update(more)
            manifest |= talk_entries(found)
            if place != new:
                manifest["variant"]["of"] = Pack.open(new).sha256
            (place / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        for each in every_variant(new):
            Speech2Face(each.folder, device="cpu", variant=None).load(talk=True)  # loads as a user would load it
    return entries


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.add_talk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack")
    parser.add_argument(
        "--run", type=Path, required=True, nargs="+", help="runs of `fit talk` and `fit mouth`, or checkpoints"
    )
    given = parser.parse_args(argv)
    try:
        entries = add_talk(given.pack, given.run)
    except (ValueError, S2FError, OSError) as error:  # CheckpointError and ParityError are ValueErrors
        print(f"error: {error}", file=sys.stderr)
        return 1
    for file, entry in entries.items():
        print(f"{given.pack / file}: {entry['bytes'] / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
