"""What to choose, by the figures of `s2f_edge.bench.measure` alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from s2f_edge.bench.measure import ONE_S, Choice, Measured

TIE = 0.05  # what differs by less is the same


@dataclass(frozen=True)
class Advice:
    """A sentence, and the options of `infer` that it is about: none where the defaults do as well."""

    text: str
    options: list[str]


def advice(found: list[Measured], cuda: bool) -> list[Advice]:
    """Recommended options, by speed; within 5 % the cheaper one: CPU, fewer threads, less memory, the variant
    that `infer` takes.

    Args:
        found: at least one for one face at a time, one for many recordings, the first with that variant; and for each
            other variant, or the pack itself, the same choice with that.
        cuda: whether `infer` would take CUDA unless it is told otherwise.
    """
    plain = [m for m in found if m.choice.variant == found[0].choice.variant or m.choice.device == "cuda"]
    one = _best([m for m in plain if not m.choice.many])
    many = _best([m for m in plain if m.choice.many])
    memory = f", {many.peak_mib:.0f} MiB" if many.peak_mib else ""
    took = f"{one.ms[1]:.0f} ms for a recording of {ONE_S:g} s, {one.speech_per_s:.0f} times real time"
    rate = f"{many.faces_per_s:.1f} faces/s, {many.speech_per_s:.0f} times real time{memory}"
    return [
        Advice(f"One face at a time: {took}.", _options(one, cuda)),
        Advice(f"Many recordings: {rate}.", _options(many, cuda)),
        *_of_variants(found, cuda),
    ]


def _best(found: list[Measured]) -> Measured:
    def rate(measured: Measured) -> float:
        return measured.faces_per_s if measured.choice.many else 1e3 / measured.ms[1]

    def cost(measured: Measured) -> tuple[bool, int, float]:
        choice = measured.choice
        return choice.device == "cuda", choice.threads * choice.workers, measured.peak_mib or 0.0

    most = max(map(rate, found))
    return min((m for m in found if rate(m) >= most / (1.0 + TIE)), key=cost)


def _options(measured: Measured, cuda: bool) -> list[str]:
    choice = measured.choice
    words = _device(choice.device, cuda)
    if choice.device == "cpu":
        words += ["--threads", str(choice.threads)]
    return words + (["--jobs", str(choice.workers)] if choice.many else [])


def _device(device: str, cuda: bool) -> list[str]:
    """Nothing where it is what `infer` takes anyway."""
    return ["--device", device] if cuda or device == "cuda" else []


def _of_variants(found: list[Measured], cuda: bool) -> Iterator[Advice]:
    """How fast each other variant is beside the one that `infer` takes, with the same threads and processes."""
    usual, on_cpu = found[0].choice.variant, {m.choice: m for m in found if m.choice.device == "cpu"}
    for variant in dict.fromkeys(choice.variant for choice in on_cpu if choice.variant != usual):
        ours = [m for m in on_cpu.values() if m.choice.variant == variant]
        others = [on_cpu[replace(m.choice, variant=usual)] for m in ours]
        name = ours[0].precision
        times = [
            m.faces_per_s / other.faces_per_s if m.choice.many else other.ms[1] / m.ms[1]
            for m, other in zip(ours, others, strict=True)
        ]
        speedups = ", ".join(f"{t:.2f} ({in_words(m.choice)})" for t, m in zip(times, ours, strict=True))
        sizes = f"{ours[0].pack_mb:.1f} MB instead of {others[0].pack_mb:.1f} ({others[0].precision})"
        if max(times) > 1.0 + TIE:
            text = f"{name}, {sizes}, makes faces near those (see `s2f-edge pack show`), so many times as fast"
            yield Advice(f"{text}: {speedups}.", [*_device(ours[0].choice.device, cuda), "--variant", name])
        else:
            yield Advice(f"{name}, {sizes}, is no faster on this machine: {speedups} times.", [])


def in_words(choice: Choice) -> str:
    """Processes and threads, or the device."""
    if choice.device == "cuda":
        return "CUDA"
    threads = f"{choice.threads} thread{'s' * (choice.threads > 1)}"
    return f"{choice.workers} x {threads}" if choice.many else threads
