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
import copy
import hashlib
import io
import json
import sys
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.blocked import blocked
from export.checkpoints import load_checkpoints
from export.float16 import weights_as_float16
from export.mobile import write_single_file
from export.published import load_published
from export.single_file import GENERATORS
from export.verify import BATCHES, FLOAT16_TOLERANCE, TOLERANCE, tensors, verify
from s2f_edge.errors import S2FError
from s2f_edge.pack.manifest import GENDERS, MANIFEST, RENDERER_SCHEMA, SCHEMA, VARIANTS
from s2f_edge.pack.pack import Pack, variants_inside
from s2f_edge.pack.roles import APPEARANCE
from s2f_edge.pipeline import Speech2Face
from s2f_train.folders import written_whole
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.renderer import INNER_SIDE, OUTER_SIDE, Renderer
from s2f_train.models.speech2face import FaceDecoder
from s2f_train.models.traits import VoiceTraits

OPSET = 17
PUBLISHED_LICENCE = "The published weights of Wen et al. 2019: see the terms of their authors."
NOISE = 0.05  # SPEC section 3


def export_pack(
    networks: dict[str, nn.Module],
    training: dict[str, Any],
    out: Path,
    name: str,
    version: str,
    licence: str,
    float16: bool = False,
) -> dict[str, Any]:
    """Writes a pack and gives its manifest.

    Args:
        networks: `voice`, `generator_general`, `generator_male`, `generator_female` (at
            least one generator) and, where there are such, `traits` and `renderer`.
        training: what the manifest says of the training.
        float16: keep the weights as float16, see `export.float16`.
        out: folder; replaced if it is a pack already, and not touched if anything fails.

    Raises:
        ParityError: a file is not the same function as its module.
        FileExistsError: `out` exists and is no pack.
        ValueError: the networks do not make a pack.
    """
    if "voice" not in networks or not any(name.startswith("generator_") for name in networks):
        raise ValueError(f"A pack needs a voice network and a generator; there are {', '.join(networks) or 'none'}.")
    _check_halves(networks)
    with written_whole(out, is_pack) as folder:
        manifest = _write(networks, training, folder, name, version, licence, float16)
        Speech2Face(folder, device="cpu")  # loads as a user would load it
    return manifest


def _check_halves(networks: dict[str, nn.Module]) -> None:
    """Appearances need a renderer, pictures have no use for one, and all generators make the same of the two."""
    generators = {name: network for name, network in networks.items() if name.startswith("generator_")}
    halves = [name for name, network in generators.items() if isinstance(network, AppearanceGenerator)]
    whole = [name for name in generators if name not in halves]
    if halves and whole:
        raise ValueError(
            f"{', '.join(halves)} makes appearances and {', '.join(whole)} pictures; the generators of a pack make the "
            "same of the two. Give runs of one kind."
        )
    renderer = networks.get("renderer")
    if halves and renderer is None:
        raise ValueError(
            f"{', '.join(halves)} makes appearances, which a renderer draws, and there is none; give the run of "
            "`fit renderer` too."
        )
    if whole and renderer is not None:
        raise ValueError(
            f"{', '.join(whole)} makes pictures itself, and there is a renderer too; leave the run of `fit renderer` "
            "out, or give one of `fit appearance`."
        )
    if renderer is not None and not isinstance(renderer, Renderer):
        raise ValueError(f"The network called renderer is a {type(renderer).__name__} and draws no appearances.")


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a pack, its variants and nothing else, so that a new one may replace it."""
    try:
        pack = Pack.open(folder)
    except S2FError:
        return False
    names = {MANIFEST, *pack.manifest.files}
    return all(path.name in names or _is_variant(path) for path in folder.iterdir())


def _is_variant(folder: Path) -> bool:
    """Of this pack or of an earlier state of it; those that are links are none, nor is what has folders in it."""
    if folder.name not in VARIANTS or folder.is_symlink() or not folder.is_dir():
        return False
    try:
        manifest = Pack.open(folder).manifest
    except S2FError:
        return False
    names = {MANIFEST, *manifest.files}
    made = manifest.variant is not None and manifest.weights == folder.name
    return made and all(path.name in names and path.is_file() for path in folder.iterdir())


def _write(
    networks: dict[str, nn.Module],
    training: dict[str, Any],
    folder: Path,
    name: str,
    version: str,
    licence: str,
    float16: bool,
) -> dict[str, Any]:
    voice = networks["voice"]
    size: int = voice.settings["embedding_size"]  # type: ignore[assignment, index]
    facts = facts_of(name, version, licence, str(voice.features))
    files, parity = {}, {}
    for key, network in networks.items():
        file = f"{key}.onnx"
        data, parity[file] = network_file(key, network, size, facts, float16)
        inputs, outputs = tensors(data)
        (folder / file).write_bytes(data)
        files[file] = {
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "opset": OPSET,
            "inputs": inputs,
            "outputs": outputs,
        }
    manifest = {
        "schema": RENDERER_SCHEMA if "renderer" in networks else SCHEMA,
        "name": name,
        "version": version,
        "licence": licence,
        "kind": "vae" if any(isinstance(network, FaceDecoder) for network in networks.values()) else "gan",
        "voice": {
            "file": "voice.onnx",
            "network": voice.kind,
            "features": voice.features,
            "embedding_size": size,
            "settings": voice.settings,
        },
        "traits": None,
        "generators": {gender: f"generator_{gender}.onnx" for gender in GENDERS if f"generator_{gender}" in networks},
        "generator_settings": {k: n.settings for k, n in networks.items() if k.startswith("generator_")},
        "noise": 0.0 if "renderer" in networks else training.get("noise", NOISE),
        "files": files,
        "weights": "float16" if float16 else "float32",
        "training": training,
        "parity": parity,
    }
    if "renderer" in networks:
        manifest["renderer"] = {"file": "renderer.onnx", "settings": networks["renderer"].settings}
    if isinstance(networks.get("traits"), VoiceTraits):
        measured = training["traits"]
        manifest["traits"] = {
            "file": "traits.onnx",
            "unusual": measured["surprise_p95"],
            "strange": measured["surprise_p99"],
        }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    Pack.open(folder)  # a manifest that cannot be read back is not written
    return manifest


def network_file(
    key: str, network: nn.Module, size: int, facts: dict[str, str], float16: bool
) -> tuple[bytes, dict[str, Any]]:
    """A network as the bytes of its file, and how near they are to the module.

    Args:
        key: `voice`, `traits`, `renderer` or `generator_...`.
        size: of the voice embedding.
        facts: see `facts_of`; they come to stand in the file.
        float16: keep the weights as float16, see `export.float16`.

    Raises:
        ParityError: the file is not the same function.
    """
    examples = _examples(key, network, size)
    data = _with_facts(to_onnx(network, examples[0]), {**facts, "s2f.network": key})
    if key == "voice" and str(network.kind).startswith("campplus"):
        data = blocked(data)
    # What reads gender and typicality is small, and its numbers are differences of near ones.
    halved = float16 and key != "traits"
    data = weights_as_float16(data) if halved else data
    return data, verify(network, data, examples, FLOAT16_TOLERANCE if halved else TOLERANCE)


def facts_of(name: str, version: str, licence: str, features: str) -> dict[str, str]:
    """The metadata stored in every ONNX file of a pack."""
    return {"s2f.pack": f"{name} {version}", "s2f.licence": licence, "s2f.features": features}


def _examples(key: str, network: nn.Module, size: int) -> list[dict[str, Tensor]]:
    """Seeded inputs of every batch size and, for a voice network, several lengths."""
    generator = torch.Generator().manual_seed(7)
    if isinstance(network, Renderer):
        return [_appearance(network, n, generator) for n in BATCHES]
    if key != "voice":
        rows = [torch.randn(n, size, generator=generator) for n in BATCHES]
        examples = [{"embedding": nn.functional.normalize(r)} for r in rows]
        if isinstance(network, AppearanceGenerator):
            latents = [torch.randn(n, network.settings["latent_size"], generator=generator) for n in BATCHES]
            latents[0].zero_()  # the face of a voice
            return [{**example, "latent": latent} for example, latent in zip(examples, latents, strict=True)]
        return examples
    if network.features == "logmel-64":
        return [
            {"features": torch.randn(n, 64, t, generator=generator)} for n in BATCHES for t in (1000, 1001, 1037, 3000)
        ]
    if network.features == "fbank-80":
        # What the runtime gives, whole segments of the network's context, and such that end inside one.
        return [
            {"features": torch.randn(n, t, 80, generator=generator).mul(3)}
            for n in BATCHES
            for t in (200, 137, 33, 500)
        ]
    if network.features == "stft-257":
        return [{"features": torch.randn(n, 2, 257, t, generator=generator)} for n in BATCHES for t in (598, 98, 201)]
    # melpower-40: power is positive and spread over decades
    return [
        {"features": torch.randn(n, t, 40, generator=generator).mul(2).sub(6).exp()}
        for n in BATCHES
        for t in (160, 80, 33)
    ]


def _appearance(network: Renderer, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Sketches that are smooth, as real ones are, with detail in them, and shapes near the mean one."""
    parts = {}
    for name, side in (("inner", INNER_SIDE), ("outer", OUTER_SIDE)):
        coarse = nn.functional.interpolate(
            torch.rand(count, 3, 6, 6, generator=generator) * 2 - 1, side, mode="bilinear"
        )
        parts[name] = (coarse + 0.1 * torch.randn(coarse.shape, generator=generator)).clamp(-1.0, 1.0)
    points = network.points
    return {**parts, "shape": points + 0.02 * torch.randn(count, *points.shape, generator=generator)}


def to_onnx(module: nn.Module, example: dict[str, Tensor]) -> bytes:
    """One module as ONNX with dynamic batch and frames."""
    if isinstance(module, VoiceTraits):
        outputs = ["male", "surprise"]
    elif isinstance(module, AppearanceGenerator):
        outputs = list(APPEARANCE)
    else:
        outputs = ["embedding"] if "features" in example else ["face"]
    axes = {name: {0: "batch"} for name in (*example, *outputs)}
    if "features" in example:
        axes["features"][{"logmel-64": 2, "stft-257": 3}.get(str(module.features), 1)] = "frames"
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript-based exporter is marked as old; its graphs of these networks are plain and checked below.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _folded(module.eval()) if isinstance(module, Renderer) else module.eval(),
            tuple(example.values()),
            buffer,  # type: ignore[arg-type]
            input_names=list(example),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            # Folded, the noise of every block would stand there for each of its maps; a runtime folds it when it loads.
            do_constant_folding=not isinstance(module, Renderer),
            dynamo=False,
        )
    if isinstance(module, Renderer):
        return _with_lengths(buffer.getvalue(), module, example)
    return buffer.getvalue()


def _folded(module: nn.Module) -> nn.Module:
    """A copy whose batch norms are inside the convolutions before them, which the exporter does with all or nothing."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for (before, convolution), (name, norm) in pairwise(parent.named_children()):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, before, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, name, nn.Identity())
    return module


def _with_lengths(data: bytes, module: nn.Module, example: dict[str, Tensor]) -> bytes:
    """The lengths of the picture, which the exporter loses at GridSample."""
    with torch.inference_mode():
        face = module(**example)
    model = onnx.load_from_string(data)
    for dimension, length in zip(model.graph.output[0].type.tensor_type.shape.dim[1:], face.shape[1:], strict=True):
        dimension.dim_value = length
    said: bytes = model.SerializeToString()
    return said


def _with_facts(data: bytes, facts: dict[str, str]) -> bytes:
    """The essentials of the manifest inside the ONNX file, where other tools look for them."""
    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


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
        choices=GENERATORS,
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
