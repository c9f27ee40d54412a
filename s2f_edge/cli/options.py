"""The options that commands share, and how results read. Prints nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from s2f_edge.batch.recordings import BY_MEDIA, BY_SOUNDFILE
from s2f_edge.terms import MAX_SAMPLES, MAX_SIZE, MIN_SIZE, Device, Engine, Gender, PictureFormat, Variant

if TYPE_CHECKING:
    from s2f_edge.pack.pack import Pack
    from s2f_edge.pipeline import Speech2Face
    from s2f_edge.results import Voice

Facts = dict[str, Any]  # of one result, as --json prints them
EmbeddingFormat = Literal["npy", "json"]


def _named(suffixes: set[str]) -> str:
    return ", ".join(sorted(suffix[1:] for suffix in suffixes))


READ = f"Formats: {_named(BY_SOUNDFILE)}; with the extra media also {_named(BY_MEDIA)}."

FilesArgument = Annotated[
    list[str], typer.Argument(metavar="FILE...", help=f"Recordings, folders of recordings, or - for stdin. {READ}")
]
ManyFilesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        help=f"Recordings, folders of recordings, patterns such as 'clips/**/*.wav', or - for stdin. {READ}",
    ),
]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help=f"A recording, or - for stdin. {READ}")]
PicturesArgument = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Picture or video files.")]
PackArgument = Annotated[
    Path | None, typer.Argument(metavar="[PACK]", help="Folder of a pack (default: the installed one).")
]

# Paths as they were typed: Path drops the slash by which a folder is meant.
OutFaceOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="Picture file for one recording, folder/ for several, - for stdout (default: NAME.face.png here).",
    ),
]
OutEmbeddingOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="File for one recording, folder/ for several, - for stdout (default: NAME.npy or NAME.json here).",
    ),
]
OutInspectionOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="PNG file, folder/, or - for stdout (default: NAME.inspect.png here).",
    ),
]
GenderOption = Annotated[Gender, typer.Option(help="Generator to use; auto chooses by the voice.")]
SamplesOption = Annotated[int, typer.Option(min=1, max=MAX_SAMPLES, help="Number of candidate faces.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Random seed of the candidates (default: a random one).")]
GridOption = Annotated[bool, typer.Option("--grid", help="Write all candidates into one picture.")]
SizeOption = Annotated[int, typer.Option(min=MIN_SIZE, max=MAX_SIZE, help="Width and height of each face in pixels.")]
FormatOption = Annotated[EmbeddingFormat, typer.Option("--format", help="File format: npy (numpy) or json.")]
PictureFormatOption = Annotated[
    PictureFormat | None, typer.Option("--format", help="Picture format (default: the suffix of --out, else png).")
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PEM",
        envvar="S2F_C2PA_CERTIFICATE",
        help="Certificate chain to sign pictures with, the signer's first (default: a self-made one). Needs the extra "
        "c2pa.",
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(metavar="PEM", envvar="S2F_C2PA_KEY", help="Private key of the certificate (EC, P-256)."),
]
TrustOption = Annotated[
    Path | None,
    typer.Option(metavar="PEM", envvar="S2F_C2PA_TRUST", help="Certificates of trusted issuers."),
]
PackOption = Annotated[Path | None, typer.Option(help="Folder of a pack (default: the installed one).")]
VariantOption = Annotated[
    Variant,
    typer.Option(
        help="Variant of the pack: int8 computes with 8-bit numbers, light has a smaller voice network; the pack "
        "itself is named by its weights. auto is int8 on processors with VNNI or its like, else the pack itself."
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="auto uses CUDA where available; cuda fails without it.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads per network call (default: all cores).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON per file.")]
DenoiseOption = Annotated[
    bool, typer.Option("--denoise", help="Reduce stationary noise first. The default pack works better without it.")
]
AllWindowsOption = Annotated[
    bool,
    typer.Option(
        "--all-windows",
        help="Let the voice network hear all of a long recording, not only the pack's number of windows from all over "
        "it.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace existing files. Without it, only pictures that s2f-edge made (by their metadata) are replaced.",
    ),
]


ListOption = Annotated[
    str | None,
    typer.Option("--list", metavar="FILE", help="Text file with one recording or folder per line; - for stdin."),
]
TableOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write one row per recording to *.jsonl or *.parquet (needs the extra parquet). Results are then printed "
        "with --json only.",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the --table of an interrupted run; finished recordings are kept.")
]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="With --resume: retry the recordings that failed.")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        help="Worker processes, each with its own model and one thread (or --threads). Default: one per core with "
        "--table or from 64 recordings on; one on a GPU.",
    ),
]
EngineOption = Annotated[
    Engine, typer.Option(help="Where the work runs: on this machine, or on a Ray cluster (needs the extra cluster).")
]
AddressOption = Annotated[
    str,
    typer.Option(
        help="Ray address: auto (the running cluster), local (a new one with --jobs cores) or ray://HOST:PORT. All "
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
    rows = [
        f"{facts['file']} -> {where}",
        f"  {facts['speech_seconds']:.1f} s of speech in {facts['heard_seconds']:.1f} s; {_voice(facts)}; "
        f"{facts['generator']} generator; {facts['timings_ms']['total']:.0f} ms on {facts['provider']}, "
        f"{facts['variant']}",
    ]
    if facts["samples"] > 1:
        rows.append(f"  {facts['samples']} candidates, seed {facts['seed']}")
    rows += [f"  warning: {warning['message']}" for warning in facts["warnings"]]
    return rows


def talk_lines(facts: Facts) -> list[str]:
    rows = [
        f"{facts['file']} -> {facts['pictures'][0]}",
        f"  {facts['frames']:,} frames of {facts['size']} pixels for {facts['seconds']:.1f} s; {_voice(facts)}; "
        f"{facts['generator']} generator; {facts['timings_ms']['total'] / 1e3:.1f} s on {facts['provider']}",
    ]
    return rows + [f"  warning: {warning['message']}" for warning in facts["warnings"]]


def _voice(facts: Facts) -> str:
    """What the voice sounds like."""
    if facts["male_probability"] is None:
        return "gender not estimated"
    if facts["gender"] == "unsure":
        return "the voice's gender is unsure"
    share = max(facts["male_probability"], 1 - facts["male_probability"])
    return f"the voice sounds {facts['gender']} ({share:.0%})"


def embed_lines(facts: Facts) -> list[str]:
    seconds = f"{facts['speech_seconds']:.1f} s of speech"
    warnings = [f"  warning: {warning['message']}" for warning in facts["warnings"]]
    return [f"{facts['file']} -> {facts['embedding']}", f"  {facts['length']} numbers from {seconds}", *warnings]


def embed_facts(voice: Voice, model: Speech2Face) -> Facts:
    known = voice.to_dict()
    return {
        "length": len(voice.embedding),
        **{name: known[name] for name in ("speech_seconds", "gender", "male_probability", "warnings")},
        "pack": model.pack_name,
        "pack_sha256": model.pack.sha256,
        "variant": model.variant,
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
    """One line for the pack and one for each of its variants; none where it has no variants."""
    size = sum(file.bytes for file in pack.manifest.files.values())
    rows = [f"  {pack.manifest.weights:10}  {size / 1e6:.1f} MB   the pack itself"] if inside else []
    for each in inside:
        info = each.manifest.variant
        assert info is not None  # a variant without is none
        (least, median), (worst, middle) = info.cosine, info.psnr_db
        pace = ", ".join(f"{theirs / own:.2f} ({threads})" for threads, (own, theirs) in info.ms.items())
        rows.append(
            f"  {each.manifest.weights:10}  {info.bytes[0] / 1e6:.1f} MB   least and median on {info.judged} clips: "
            f"cosine {least:.4f}, {median:.4f}; faces {worst:.1f}, {middle:.1f} dB; times as fast: {pace}"
        )
    return rows
