"""Turn a checkpoint into a model pack that s2f-edge runs.

    python -m export.to_onnx --checkpoint runs/00001-gan-general runs/00002-gan-male --out packs/mine
    python -m export.to_onnx --checkpoint runs/00003-appearance runs/00002-renderer --out packs/mine
    python -m export.to_onnx --published voice_embedding.pth generator.pth --out packs/wen2019
    python -m export.to_onnx --pack artifacts/default --single-file face.onnx

Every network becomes an ONNX file with a dynamic batch (and length, for the voice network,
whose graph ends with the L2 normalisation); CAM++ is rewritten, see export.blocked.
Each is compared with torch at several lengths and batch sizes; a difference above 1e-3 stops
the export and leaves nothing behind. The manifest says what the pack is: feature settings,
shapes, hashes, training, parity, licence.

Generators make pictures, or appearances, which a renderer draws: then the pack has one renderer for all of them.

--single-file makes one model of a pack, from waveform to face, for phones and browsers; it is
compared with the pipeline. See docs/phones.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from export.checkpoints import load_checkpoints
from export.mobile import write_single_file
from export.pack import NOISE, export_pack
from export.published import load_published
from s2f_edge.errors import S2FError
from s2f_edge.pack.pack import Pack, variants_inside
from s2f_edge.terms import GENDERS

PUBLISHED_LICENCE = "The published weights of Wen et al. 2019: see the terms of their authors."


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.to_onnx", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="runs of `fit gan` or `fit vae`, or checkpoints: one for each generator, all on the same voice network",
    )
    source.add_argument(
        "--published", type=Path, nargs=2, metavar=("VOICE", "GENERATOR"), help="checkpoint files of Wen et al."
    )
    source.add_argument("--pack", type=Path, metavar="PACK", help="an existing pack, for --single-file")
    parser.add_argument("--out", type=Path, metavar="PACK", help="folder of the pack to write")
    parser.add_argument("--name", help="name of the pack (default: the folder's name)")
    parser.add_argument("--pack-version", default="1", help="version of the pack (default: 1)")
    parser.add_argument("--licence", help="licence of the weights (default: what the checkpoint says)")
    parser.add_argument(
        "--float16",
        action="store_true",
        help="store the weights as 16-bit floats (half the size); arithmetic stays float32",
    )
    parser.add_argument(
        "--tanh",
        action="store_true",
        help="with --published: end the generator with a tanh, as the thesis's server did",
    )
    single = parser.add_argument_group("one file for phones and browsers")
    single.add_argument("--single-file", type=Path, metavar="FILE.onnx", help="one model from waveform to face")
    single.add_argument(
        "--generator",
        choices=GENDERS,
        default="auto",
        help="generator in the file (default: auto: all, chosen by the voice or an input)",
    )
    single.add_argument("--ort", action="store_true", help="also in ORT format, for ONNX Runtime Mobile")
    single.add_argument(
        "--speech", type=Path, nargs="+", metavar="FILE", help="recordings to compare on (default: examples/)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = _arguments()
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        parser.print_help()
        return 0
    arguments = parser.parse_args(argv)
    if arguments.pack and (arguments.out or not arguments.single_file):
        parser.error("--pack needs --single-file and excludes --out")
    if not arguments.pack and not arguments.out:
        parser.error("--out is needed: the folder of the pack to write")
    try:
        manifest = None if arguments.pack else _export(arguments)
        single = None
        if arguments.single_file:
            pack = Pack.open(arguments.pack or arguments.out)
            single = write_single_file(
                pack, arguments.single_file, arguments.generator, arguments.ort, arguments.speech
            )
    except (ValueError, S2FError, OSError) as error:  # CheckpointError, PublishedError and ParityError are ValueErrors
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"manifest": manifest, "single_file": single}))
        return 0
    if manifest:
        for file, entry in manifest["files"].items():
            difference = manifest["parity"][file]["largest_difference"]
            print(f"{file:28} {entry['bytes'] / 1e6:8.2f} MB   largest difference from torch {difference:.1e}")
        print(f"wrote {arguments.out}")
    if single:
        _print_single(single)
    return 0


def say_what_is_gone(variants: Iterable[str]) -> None:
    """Prints on standard error which variants were deleted with the pack that was replaced."""
    if variants:
        print(
            f"The replaced pack had the variants {', '.join(variants)}, which were deleted with it. "
            "Run python -m export.variants to make them for the new one.",
            file=sys.stderr,
        )


def _export(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.checkpoint:
        networks, training = load_checkpoints(arguments.checkpoint)
        licence = training.get("licence", "not stated")
    else:
        voice, generator = arguments.published
        networks = load_published(voice, generator, tanh=arguments.tanh)
        training, licence = {"recipe": "published by Wen et al. 2019", "noise": NOISE}, PUBLISHED_LICENCE
    replaced = variants_inside(arguments.out)
    manifest = export_pack(
        networks,
        training,
        arguments.out,
        arguments.name or arguments.out.resolve().name,
        arguments.pack_version,
        arguments.licence or licence,
        arguments.float16,
    )
    say_what_is_gone(replaced)
    return manifest


def _print_single(single: dict[str, Any]) -> None:
    for file, entry in single["files"].items():
        print(f"{file:28} {entry['bytes'] / 1e6:8.2f} MB   sha256 {entry['sha256']}")
    for file, judged in single["parity"].items():
        print(
            f"{file}: against the pipeline on {judged['clips']} clips: least cosine of embeddings "
            f"{judged['least_cosine']:.6f}, least PSNR of faces {judged['least_psnr_db']:.1f} dB"
        )


if __name__ == "__main__":
    sys.exit(main())
