"""What the processor does with numbers of 8 bits. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

# By the kernel's names, the widest first: instructions that multiply numbers of 8 bits and add the products.
PRODUCTS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
CPUINFO = Path("/proc/cpuinfo")


def about(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What Linux says of the first processor, by its names; nothing where the system does not say."""
    found: dict[str, str] = {}
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.exists() else []
    except OSError:  # a sandbox
        return found
    for name, colon, value in (line.partition(":") for line in lines):
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def instructions(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The instructions of the processor, as Linux names them; none where the system does not say."""
    fields = about(cpuinfo)
    return frozenset((fields.get("flags") or fields.get("Features", "")).split())


def multiplies_8_bits() -> bool:
    """Whether it has VNNI or its like; False where that is not known, as on Windows and macOS."""
    return not instructions().isdisjoint(PRODUCTS)
