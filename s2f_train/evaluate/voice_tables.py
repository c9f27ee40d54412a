"""The voice side as it is shown: a table of data sets, curves over conditions, and all their numbers."""

from __future__ import annotations

from typing import Any

from s2f_train.evaluate.tables import Chart, Column, Section, Table

MEASURES = [
    Column("refused", "refused", better="lower"),
    Column("error", "equal error rate", better="lower"),
    Column("same", "pairs of one speaker", "count"),
    Column("different", "pairs of two", "count"),
    Column("gender", "gender by voice", better="higher"),
    Column("balanced", "balanced", better="higher"),
    Column("abstained", "unsure", better="lower"),
    Column("face", "gender of the face", better="higher"),
    Column("face_balanced", "balanced", better="higher"),
]
LINES = {
    "gender by voice": "gender",
    "gender of the face": "face",
    "equal error rate": "error",
    "refused": "refused",
}
GROUPS = {"noise": "Noise", "duration": "Seconds of speech", "codec": "Telephone and codecs"}


def voice_section(rows: list[dict[str, Any]], curve_rows: list[dict[str, Any]]) -> Section:
    """The section of the report.

    Args:
        rows: of data sets, the last one of all.
        curve_rows: of conditions, clean first; "group" is "clean" or one of `GROUPS`.
    """
    voices = Table(
        "voices",
        "Held-out speakers",
        "Pairs are of one data set: two data sets are told apart by their microphones. Clips of a speaker are often "
        "of one session, which makes them easier to tell. The gender by voice is the pack's own estimate at 0.5; "
        "unsure is what the runtime calls so. Faces are those of the general generator.",
        [
            Column("source", "data set", "text"),
            Column("speakers", "speakers", "count"),
            Column("several", "with two clips", "count"),
            Column("clips", "clips", "count"),
            *MEASURES,
        ],
        rows,
    )
    conditions = Table(
        "conditions",
        "What each condition costs",
        "Clips that are not refused when they are clean, some of every speaker. One other clip of the speaker, clean, "
        "is enrolled. What is refused counts in no other column. Noise is pink. Seconds are what the detector finds in "
        "the clip and others of the speaker behind it, where they are long enough: short and long ones are not the "
        "same speakers. The voices have no pauses, so noise between words is not tried.",
        [
            Column("condition", "condition", "text"),
            Column("clips", "clips", "count"),
            Column("seconds", "speech, s", "number"),
            Column("cosine", "cosine to clean", "figure", 3, "higher"),
            *MEASURES,
        ],
        curve_rows,
    )
    charts = [_chart(group, title, curve_rows) for group, title in GROUPS.items()]
    return Section(
        "Voices",
        "Whether the embedding of a voice tells the speaker and the gender, before any face is made, and what is left "
        "of it in a bad recording. Everything goes through the whole runtime, with its refusals. Chance is an equal "
        "error rate of 50 %.",
        [voices, *charts, _cosines(curve_rows), conditions],
    )


def _chart(group: str, title: str, rows: list[dict[str, Any]]) -> Chart:
    shown = [row for row in rows if row["group"] in ("clean", group)]
    lines = {name: [row[key] for row in shown] for name, key in LINES.items()}
    lines = {name: line for name, line in lines.items() if any(line)}
    steps = [row["condition"] for row in shown]
    return Chart(f"voices-{group}", title, "Numbers are in the table below.", "", "", steps, lines)


def _cosines(rows: list[dict[str, Any]]) -> Chart:
    shown = [row for row in rows if row["group"] != "clean"]
    lines = {
        title: [row["cosine"] if row["group"] == group else None for row in shown] for group, title in GROUPS.items()
    }
    note = "Of the embedding to that of the same clip, clean."
    return Chart(
        "voices-cosine", "Cosine to clean", note, "", "cosine", [row["condition"] for row in shown], lines, share=False
    )
