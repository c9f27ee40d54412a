"""The options that commands share, and how results read. Prints nothing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from s2f_edge.pack.pack import Pack
    from s2f_edge.pipeline import Speech2Face
    from s2f_edge.results import Voice

Facts = dict[str, Any]  # of one result, as --json prints them


class Gender(StrEnum):
    auto = "auto"
    general = "general"
    male = "male"
    female = "female"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    float32 = "float32"
    float16 = "float16"
    int8 = "int8"
    light = "light"


class EmbeddingFormat(StrEnum):
    npy = "npy"
    json = "json"


class PictureFormat(StrEnum):
    png = "png"
    webp = "webp"
    jpeg = "jpeg"


class Engine(StrEnum):
    local = "local"
    ray = "ray"


FilesArgument = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Recordings, folders of them, or - for stdin.")
]
ManyFilesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...", help="Recordings, folders of them, patterns such as 'clips/**/*.wav', or - for stdin."
    ),
]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A recording, or - for stdin.")]
PicturesArgument = Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Picture files.")]
PackArgument = Annotated[Path | None, typer.Argument(metavar="[PACK]", help="Folder (default: the installed pack).")]

# Paths as they were typed: Path drops the slash by which a folder is meant.
OutFaceOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="Picture for one recording, a folder/ for several, - for stdout (default: NAME.face.png in this folder).",
    ),
]
OutEmbeddingOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="File for one recording, a folder/ for several, - for stdout (default: NAME.npy or NAME.json).",
    ),
]
OutInspectionOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="PNG to write, a folder/ for it, - for stdout (default: NAME.inspect.png in this folder).",
    ),
]
GenderOption = Annotated[Gender, typer.Option(help="Which generator; auto goes by the voice.")]
SamplesOption = Annotated[int, typer.Option(min=1, max=64, help="How many candidates to draw.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="What candidates are drawn with (default: random).")]
GridOption = Annotated[bool, typer.Option("--grid", help="Candidates in one picture instead of one file each.")]
SizeOption = Annotated[int, typer.Option(min=16, max=4096, help="Width and height of a face in pixels.")]
FormatOption = Annotated[EmbeddingFormat, typer.Option("--format", help="npy (numpy) or json.")]
PictureFormatOption = Annotated[
    PictureFormat | None, typer.Option("--format", help="Default: what --out ends with, else png.")
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PEM",
        envvar="S2F_C2PA_CERTIFICATE",
        help="Certificate, and those that issued it, to sign pictures with (default: a self-made one). Needs the "
        "extra c2pa.",
    ),
]
KeyOption = Annotated[
    Path | None, typer.Option(metavar="PEM", envvar="S2F_C2PA_KEY", help="Its private key: EC, curve P-256.")
]
TrustOption = Annotated[
    Path | None,
    typer.Option(metavar="PEM", envvar="S2F_C2PA_TRUST", help="Certificates whose holders' signatures are trusted."),
]
PackOption = Annotated[Path | None, typer.Option(help="Folder of a model pack (default: the one that is installed).")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="Variant of the pack, where it has it: another precision of the weights, or light, a smaller voice "
        "network (default: the pack as it is)."
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="auto takes CUDA where it is there; cuda insists on it.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of one network call (default: all cores).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON per file.")]
DenoiseOption = Annotated[
    bool, typer.Option("--denoise", help="Lower steady noise first. The default pack does better without.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace files that are there. Without it only pictures are replaced, and only those that say that "
        "s2f-edge made them.",
    ),
]


ListOption = Annotated[
    str | None,
    typer.Option("--list", metavar="FILE", help="A text file with a recording or folder a line; - for stdin."),
]
TableOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write a row for each recording to *.jsonl, or to *.parquet, which takes the extra parquet. Without "
        "--json nothing else is printed of each.",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the --table of a run that was ended: what is done stays.")
]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="With --resume: try what failed once more.")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        help="Worker processes, each with a model of its own and one thread, or --threads. Default: one for each core "
        "with --table or 64 recordings or more; one on a GPU.",
    ),
]
EngineOption = Annotated[
    Engine, typer.Option(help="ray spreads the work over a cluster, which takes the extra cluster.")
]
AddressOption = Annotated[
    str,
    typer.Option(
        help="Of Ray: auto (the cluster of this machine), local (a new one of --jobs cores), ray://HOST:PORT. All "
        "machines must see recordings and pictures under the same paths.",
    ),
]


# ------------------------------------------------------------------------------ results


def printable(text: str) -> str:
    """`text` with escapes for what could move a terminal's cursor or begin a line of its own."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def infer_lines(facts: Facts) -> list[str]:
    pictures = facts["pictures"]
    where = pictures[0] if len(pictures) == 1 else f"{pictures[0]} ... {pictures[-1]}"
    if facts["male_probability"] is None:
        voice = "gender not estimated"
    else:
        share = max(facts["male_probability"], 1 - facts["male_probability"])
        voice = (
            "the voice's gender is unsure"
            if facts["gender"] == "unsure"
            else f"the voice sounds {facts['gender']} ({share:.0%})"
        )
    rows = [
        f"{facts['file']} -> {where}",
        f"  {facts['speech_seconds']:.1f} s of speech in {facts['heard_seconds']:.1f} s; {voice}; "
        f"{facts['generator']} generator; {facts['timings_ms']['total']:.0f} ms on {facts['provider']}",
    ]
    if facts["samples"] > 1:
        rows.append(f"  {facts['samples']} candidates, seed {facts['seed']}")
    rows += [f"  warning: {warning['message']}" for warning in facts["warnings"]]
    return rows


def embed_lines(facts: Facts) -> list[str]:
    seconds = f"{facts['speech_seconds']:.1f} s of speech"
    warnings = [f"  warning: {warning['message']}" for warning in facts["warnings"]]
    return [f"{facts['file']} -> {facts['embedding']}", f"  {facts['length']} numbers from {seconds}", *warnings]


def embed_facts(voice: Voice, model: Speech2Face) -> Facts:
    return {
        "length": len(voice.embedding),
        "speech_seconds": round(voice.quality.speech_s, 3),
        "gender": voice.gender,
        "male_probability": voice.male_probability,
        "warnings": [{"code": w.code, "message": w.message} for w in voice.warnings],
        "pack": model.pack_name,
        "pack_sha256": model.pack.sha256,
        "provider": voice.provider,
    }


def inspect_lines(facts: Facts) -> list[str]:
    rows = [f"  {k}: {v}" for k, v in facts.items() if k not in ("file", "picture") and v not in (None, [])]
    return [f"{facts['file']} -> {facts['picture']}", *rows]


def provenance_lines(facts: Facts) -> list[str]:
    nothing = {
        "metadata": "none",
        "credentials": "none" if facts["credentials_read"] else "not looked for, that takes the extra c2pa",
        "watermark": "none found; only faces of 256 pixels or more carry one",
    }
    rows = [f"{facts['file']}: {facts['verdict']}"]
    for layer, none in nothing.items():
        found = facts[layer]
        rows.append(f"  {layer}:" if found else f"  {layer}: {none}")
        for name, value in (found or {}).items():
            same = name == "facts" and value == facts["metadata"]
            if value:
                rows.append(f"    {name}: {'as in the metadata' if same else _listed(value)}")
    return rows


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_listed, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def pack_lines(pack: Pack) -> list[str]:
    manifest = pack.manifest
    rows = [
        f"{manifest.name} {manifest.version}   {pack.folder}",
        f"  sha256      {pack.sha256}",
        f"  voice       {manifest.voice.network}, {manifest.voice.features}, {manifest.voice.embedding_size} numbers",
        f"  generators  {', '.join(manifest.generators)}",
        f"  renderer    draws {manifest.face_size} pixels squared; candidates differ by {manifest.latent_size} numbers"
        if manifest.renderer
        else f"  noise       {manifest.noise}",
        f"  licence     {manifest.licence}",
    ]
    for file in manifest.files.values():
        largest = manifest.parity.get(file.name, {}).get("largest_difference")
        checked = f"   differs from torch by at most {largest:.1e}" if isinstance(largest, float) else ""
        rows.append(f"  {file.name:24} {file.bytes / 1e6:7.2f} MB   opset {file.opset}{checked}")
    return rows


def variant_lines(pack: Pack, inside: list[Pack]) -> list[str]:
    """One for each precision that the pack can be had in, where there are several."""
    size = sum(file.bytes for file in pack.manifest.files.values())
    rows = [f"  {pack.manifest.weights:10}  {size / 1e6:.1f} MB   the pack itself"] if inside else []
    for each in inside:
        said = each.manifest.variant
        assert said is not None  # a variant without is none
        (least, median), (worst, middle) = said.cosine, said.psnr_db
        pace = ", ".join(f"{theirs / own:.2f} ({threads})" for threads, (own, theirs) in said.ms.items())
        rows.append(
            f"  {each.manifest.weights:10}  {said.bytes[0] / 1e6:.1f} MB   least and median on {said.judged} clips: "
            f"cosine {least:.4f}, {median:.4f}; faces {worst:.1f}, {middle:.1f} dB; times as fast: {pace}"
        )
    return rows
