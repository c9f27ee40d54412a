"""Blinks, head and brows in the browser are those of Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import s2f_edge
from s2f_edge.talk.gestures import Gestures

TWIN = Path(s2f_edge.__file__).parent / "service" / "web" / "device" / "gestures.js"
FRAMES = 1500

MOVE = """
const [, file, wish] = process.argv;
const given = require("fs").readFileSync(0);
import(file).then(({ Gestures }) => {
  const gestures = new Gestures(JSON.parse(wish));
  const rows = new Float32Array(given.buffer.slice(given.byteOffset, given.byteOffset + given.length));
  const poses = [];
  for (let at = 0; at < rows.length; at += 136) poses.push([...gestures.next(rows.subarray(at, at + 136))]);
  console.log(JSON.stringify(poses));
});
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"seed": 7, "head": 2.0, "blink": 2.0, "brows": 0.5, "fps": 30.0},
        {"seed": 2**32 + 5, "head": 0.0, "blink": 0.0, "brows": 2.0},
    ],
)
def test_the_twin_makes_the_same_gestures(tmp_path: Path, wish: dict[str, float]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; it runs the page's module outside of a browser.")
    twin = tmp_path / "gestures.mjs"
    twin.write_bytes(TWIN.read_bytes())
    random = np.random.default_rng(1)
    offsets = (0.05 * random.standard_normal((FRAMES, 68, 2))).astype("<f4")
    done = subprocess.run(
        [node, "-e", MOVE, str(twin), json.dumps(wish)], input=offsets.tobytes(), capture_output=True, check=True
    )
    gestures = Gestures(**wish)  # type: ignore[arg-type]
    wanted = np.array([gestures.next(row) for row in offsets])
    assert np.abs(wanted).max(axis=0)[7] == 1
    assert np.abs(wanted[:, 5]).max() == (1 if wish.get("blink", 1) else 0)
    np.testing.assert_allclose(np.array(json.loads(done.stdout)), wanted, atol=1e-6)
