"""Does the cost of an evaluation grow faster than trials and pictures?

    python benchmarks/evaluation.py [--people 250 500 1000 2000 4000]

Judges look once at each picture, which is linear by itself (their time a picture is the last line of a run's log).
What is left are the tables. Here they are computed on made embeddings (128 numbers, three voices and three faces a
person, one system), and the seconds of processor time are printed by the number of people: linear is a constant
last column. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from time import process_time

import numpy as np

from s2f_train.data.items import Identity
from s2f_train.data.store import Sample
from s2f_train.evaluate import attribute_tables, identity_tables, picture_tables
from s2f_train.evaluate.attributes import Readings
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.seen import JudgedPictures, Row, Scene
from s2f_train.evaluate.subjects import Subjects
from s2f_train.evaluate.systems import System

A_PERSON, SIZE = 3, 128


def made(rng: np.random.Generator, whose: np.ndarray, own: np.ndarray) -> JudgedPictures:
    count = len(whose)
    embeddings = own[whose] + rng.standard_normal((count, SIZE))
    readings = Readings(rng.random(count), rng.uniform(18, 80, count), np.ones(count, bool))
    pixels = rng.integers(256, size=(count, 64, 64, 3), dtype=np.uint8)
    return JudgedPictures(embeddings, np.ones(count, bool), readings, embeddings, pixels)


def seconds(people: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    names = [Identity(f"p{i:06}", "mf"[i % 2], float(rng.uniform(18, 80)), "test") for i in range(people)]
    whose, own = np.repeat(np.arange(people), A_PERSON), rng.standard_normal((people, SIZE))
    samples = [Sample(f"s{i}", names[p].name, "made", "", "photo", "", {}) for i, p in enumerate(whose)]
    others = [Sample(f"o{i}", f"o{p}", "made", "", "photo", "", {}) for i, p in enumerate(whose)]
    subjects = Subjects(
        names, samples, whose, samples, whose, np.arange(len(whose)), [], np.full(people, -1), others, []
    )  # fmt: skip
    scene = Scene(subjects, made(rng, whose, own), made(rng, whose, own), 20, 0, Bootstrap(people))
    rows = [Row(System("made", "system", [None] * len(whose), "general"), made(rng, whose, own))]
    taken = {}

    def timed(name: str, work: object) -> object:
        begun = process_time()
        result = work()  # type: ignore[operator]
        taken[name] = process_time() - begun
        return result

    timed("trials", lambda: scene.trials)
    _, given = timed("matching", lambda: identity_tables.matching_table(scene, rows))  # type: ignore[misc]
    timed("retrieval", lambda: identity_tables.retrieval_tables(scene, rows))
    timed("similarity", lambda: identity_tables.similarity_table(scene, rows))
    timed("diversity", lambda: identity_tables.spread_table(scene, rows))
    timed("gender, age", lambda: (attribute_tables.gender_tables(scene, rows), attribute_tables.age_table(scene, rows)))
    timed("groups", lambda: attribute_tables.groups_table(scene, rows, given))
    timed("distances", lambda: picture_tables.distance_table(scene, rows, "made"))
    timed("thesis", lambda: picture_tables.thesis_table(scene, rows, "made"))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000])
    counts = parser.parse_args().people
    found = {count: seconds(count) for count in counts}
    stages = list(found[counts[0]])
    print(f"{'people':>8}", *(f"{stage:>12}" for stage in stages), f"{'all':>8} {'ms a person':>12}")
    for count, taken in found.items():
        total = sum(taken.values())
        print(f"{count:8}", *(f"{taken[s]:12.2f}" for s in stages), f"{total:8.2f} {1e3 * total / count:12.2f}")
    print(json.dumps({"benchmark": "evaluation", "seconds": found}))


if __name__ == "__main__":
    main()
