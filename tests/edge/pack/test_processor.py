"""Which instructions a processor has."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2f_edge.pack import processor


@pytest.mark.parametrize(
    ("cpuinfo", "multiplies"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512bw avx512_vnni\nbugs\t: a b\n", True),
        ("flags : avx2 avx_vnni\n\nflags : avx2 avx_vnni\n", True),
        ("flags : avx512bw avx512_bf16 amx_int8", True),
        ("processor: 0\nFeatures\t: fp asimd asimddp sve\n", True),
        ("Features: fp asimd i8mm\n", True),
        ("processor: 0\nflags\t: fpu sse2 avx2 avx512bw\nmodel name\t: avx512_vnni\n", False),
        ("Features: fp asimd asimdhp\n", False),
        ("flags: avx2\nvmx flags : avx512_vnni\n", False),
        ("flags:\n", False),
        ("", False),
        ("no colon\n", False),
    ],
)
def test_what_linux_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, multiplies: bool) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    found = processor.instructions(tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "instructions", lambda: found)
    assert processor.multiplies_8_bits() is multiplies


def test_where_there_is_no_such_file_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor.instructions(tmp_path / "none") == frozenset()
    (tmp_path / "cpuinfo").write_bytes(b"flags: \xff\xfe avx_vnni\n")
    assert "avx_vnni" in processor.instructions(tmp_path / "cpuinfo")
