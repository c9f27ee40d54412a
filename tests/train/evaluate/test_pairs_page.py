"""The page of pairs: its order is the seed's, and it needs and sends nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import numpy as np
import pytest

from s2f_train.evaluate import pairs
from s2f_train.evaluate.pairs import SCRIPT, paired, pairs_of, pairs_page
from s2f_train.evaluate.photographs import Photographs, PhotographSet
from s2f_train.evaluate.seen import Row
from s2f_train.evaluate.systems import System
from s2f_train.evaluate.tables import Picture
from tests.train.evaluate.made_scene import made_scene, seen


def shade(value: int) -> Picture:
    return np.full((16, 16, 3), value, np.uint8)


REAL, MADE = [shade(100 + i) for i in range(40)], [shade(i) for i in range(40)]


def shown(found: list[pairs.Pair]) -> list[tuple[int, int, int]]:
    return [(int(pair.left[0, 0, 0]), int(pair.right[0, 0, 0]), pair.photograph) for pair in found]


def test_order_and_sides_are_the_seeds() -> None:
    first, again, other = (shown(paired(REAL, MADE, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    for left, right, photograph in first:
        assert (left >= 100) == (photograph == 0)
        assert (right >= 100) == (photograph == 1)
    assert 10 < sum(photograph for *_, photograph in first) < 30
    assert {max(left, right) for left, right, _ in first} == {100 + i for i in range(40)}  # each photograph once
    assert {min(left, right) for left, right, _ in first} == set(range(40))
    assert [max(left, right) for left, right, _ in first] != [100 + i for i in range(40)]


def test_photographs_of_all_sets_and_faces_of_different_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "Framer", lambda: lambda picture: (picture, True))
    scene = made_scene("mfmf", voices=3)  # voices 0, 1, 2 are of one person
    pictures: list[Any] = [shade(i) for i in range(12)]
    pictures[0] = None
    row = Row(System("ours", "system", pictures), seen(np.eye(12)))
    sets = [PhotographSet("a", REAL[:20], ["same"] * 19 + ["other"]), PhotographSet("b", REAL[20:22], ["p", "q"])]
    found = shown(pairs_of(scene, row, Photographs(sets, [], [], ""), 4))
    assert len(found) == 4
    made = [min(left, right) for left, right, _ in found]
    real = [max(left, right) for left, right, _ in found]
    assert len({i // 3 for i in made}) == 4  # of everyone
    assert sum(value >= 120 for value in real) == 2  # of each set in turn
    assert 119 in real  # the other person comes before a second one of the same
    assert len(pairs_of(scene, row, Photographs(sets, [], [], ""), 40)) == 11
    few = [PhotographSet("a", REAL[:3], ["p", "q", "r"])]
    assert len(pairs_of(scene, row, Photographs(few, [], [], ""), 40)) == 3


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = pairs_page(paired(REAL[:6], MADE[:6], 0), "<ours> 'x'")
    assert page.count("<li ") == 6
    assert page.count("data:image/jpeg;base64,") == 12
    assert re.findall("data-photograph='([01])'", page) == [str(p.photograph) for p in paired(REAL[:6], MADE[:6], 0)]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', page)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert page.count(f"<script>{SCRIPT}</script>") == 1
    assert "http" not in page.split("</style>", 1)[1]
    assert "<ours>" not in page
    for word in ("fetch", "XMLHttpRequest", "localStorage", "cookie", "sendBeacon"):
        assert word not in SCRIPT
