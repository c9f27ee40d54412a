"""A page on which a person says which of two pictures is the photograph, and sees at the end how often it was."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from s2f_train.data.frame import SIDE
from s2f_train.evaluate.framing import Framer
from s2f_train.evaluate.photographs import Photographs
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.subjects import people_first
from s2f_train.evaluate.tables import Picture
from s2f_train.page import POLICY, data_uri, document

FILE = "pairs.html"


@dataclass(frozen=True)
class Pair:
    """A photograph and a made face side by side.

    Attributes:
        left, right: uint8 (h, w, 3).
        photograph: 0 where the photograph is on the left, 1 where it is on the right.
    """

    left: Picture
    right: Picture
    photograph: int


def pairs_of(scene: Scene, row: Row, photographs: Photographs, count: int) -> list[Pair]:
    """Made faces of voices of different people beside photographs of different people, both on one frame.

    Args:
        row: whose faces; those of a first voice of each person come first.
        photographs: a picture of each set in turn.
        count: at most so many pairs; there are fewer where there are fewer faces or photographs.
    """
    rng = np.random.default_rng([scene.seed, 46])
    there = np.flatnonzero(row.system.there)
    voices = [int(there[i]) for i in people_first(rng, scene.person[there].astype(str).tolist())]
    real = in_turn(photographs, rng)
    framer = Framer()
    chosen = voices[: min(count, len(real))]
    made = [framer(picture)[0] for i in chosen if (picture := row.system.pictures[i]) is not None]
    return paired(real[: len(made)], made, scene.seed)


def in_turn(photographs: Photographs, rng: np.random.Generator) -> list[Picture]:
    """All of them, one of each set in turn, and of everyone before anyone's second."""
    sets = [photographs.sets[i] for i in rng.permutation(len(photographs.sets)).tolist()]
    turns = [people_first(rng, one.person) for one in sets]
    real: list[Picture] = []
    for turn in range(max(map(len, turns))):
        for places, one in zip(turns, sets, strict=True):
            real += [one.pictures[places[turn]]] if turn < len(places) else []
    return real


def paired(real: Sequence[Picture], made: Sequence[Picture], seed: int) -> list[Pair]:
    """Each photograph with a made face, in an order and on a side that the seed draws.

    Args:
        real, made: as many of each.
    """
    rng = np.random.default_rng([seed, 47])
    order, sides = rng.permutation(len(real)), rng.integers(2, size=len(real))
    return [
        Pair(made[i], real[i], 1) if side else Pair(real[i], made[i], 0)
        for i, side in zip(order.tolist(), sides.tolist(), strict=True)
    ]


def pairs_page(pairs: Sequence[Pair], name: str) -> str:
    """The page as HTML: it works without a network, keeps nothing, and sends nothing; its policy forbids that.

    Args:
        name: of the system, shown at the end.
    """
    shown = []
    for i, pair in enumerate(pairs):
        buttons = "".join(
            f"<button type='button' data-side='{side}' aria-label='The {where} picture is the photograph'>"
            f"<img alt='' src='{data_uri(Image.fromarray(picture), SIDE)}'></button>"
            for side, (where, picture) in enumerate((("left", pair.left), ("right", pair.right)))
        )
        shown.append(f"<li data-photograph='{pair.photograph}'{' hidden' if i else ''}>{buttons}</li>")
    title = "Which one is the photograph?"
    body = (
        f"<h1>{title}</h1><p>Of each pair one picture is a photograph of a person, and one was made from a voice. "
        "Click the photograph, or press ← or →. What you click stays in this window.</p>"
        f"<noscript><p>This page needs JavaScript.</p></noscript><p id='at' role='status'></p>"
        f"<ol id='pairs'>{''.join(shown)}</ol><section id='end' hidden data-name='{escape(name, quote=True)}'>"
        f"<p id='told'></p><p>Answered right is green, wrong is red; the photograph is the one with the frame.</p>"
        f"</section><script>{SCRIPT}</script>"
    )
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return document(title, body, STYLE).replace(POLICY, f"{POLICY}; script-src 'sha256-{digest}'")


STYLE = """
body{max-width:900px}#pairs{list-style:none;margin:16px 0;padding:0}#pairs li[hidden]{display:none}
#pairs li{display:grid;grid-template-columns:1fr 1fr;gap:16px;margin-bottom:16px}
#pairs button{border:4px solid transparent;border-radius:10px;padding:0;background:none;cursor:pointer}
#pairs button:focus-visible{outline:3px solid var(--bar)}#pairs img{width:100%;display:block;border-radius:6px}
.done #pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:16px}
.done #pairs li{gap:4px;padding:6px;border-radius:10px;background:#c8443a}.done #pairs li.right{background:#2f8f5b}
.done #pairs button.photograph{border-color:#fff}#told{font-size:20px;color:var(--ink)}
"""

# Wilson's interval, as a few dozen answers are few.
SCRIPT = """
(() => {
  const list = [...document.querySelectorAll('#pairs li')], at = document.getElementById('at');
  const end = document.getElementById('end'); let place = 0, right = 0;
  const say = () => { at.textContent = `${place + 1} of ${list.length}`; };
  const finish = () => {
    const n = list.length, p = right / n, z = 1.96, d = 1 + z * z / n, m = (p + z * z / 2 / n) / d;
    const h = z * Math.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / d, c = x => (100 * x).toFixed(0);
    document.body.classList.add('done'); at.textContent = ''; end.hidden = false;
    document.getElementById('told').textContent = `${right} of ${n} right: ${c(p)} % (${c(m - h)} to ${c(m + h)} %); `
      + `guessing gives 50 %. Made by ${end.dataset.name}.`;
    for (const one of list) {
      one.hidden = false; one.querySelectorAll('button')[+one.dataset.photograph].classList.add('photograph');
    }
    end.scrollIntoView();
  };
  const answer = side => {
    if (place >= list.length) return;
    const one = list[place];
    if (side === +one.dataset.photograph) { right += 1; one.classList.add('right'); }
    one.hidden = true; place += 1;
    if (place < list.length) { list[place].hidden = false; say(); } else finish();
  };
  for (const button of document.querySelectorAll('#pairs button'))
    button.addEventListener('click', () => answer(+button.dataset.side));
  document.addEventListener('keydown', event => {
    if (event.key === 'ArrowLeft') answer(0);
    if (event.key === 'ArrowRight') answer(1);
  });
  if (list.length) say(); else finish();
})();
"""
