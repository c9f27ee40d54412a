"""One ONNX file from a waveform to a face: what a phone or a browser runs.

Inputs (all are needed):

- `waveform`  float32 (samples,): what the voice detector keeps of a recording: 16 kHz, mono, in [-1, 1], joined; of any
              length from 1 s. What turns out to be no speech is left out
- `generator` int32 (1,): 0 by the voice, 1 general, 2 male, 3 female (missing from a file with one generator)
- `noise`     float32 (faces, n): a row of zeros for the face of the voice; normally distributed numbers for other
              candidates. n is the length of the latent of packs with a renderer, else that of the embedding. Without
              rows no face is made and no voice heard: only the last four outputs mean something, in a tenth of the time

Outputs:

- `faces`     uint8 (faces, height, width, 3), RGB
- `embedding` float32 (embedding,), of unit length
- `male_probability`, `surprise` float32 (1,): only where the pack can tell
- `generator_used` int32 (1,): 1, 2 or 3
- `speech_probability` float32 (1,): below 0.5 it is no speech, and the face means nothing
- `sounds`    float32 (4,): mean log probabilities of speech, noise, tone and music
- `speech`    uint8 (seconds,): 1 for each second of the waveform that is heard, 0 for what is left out, and for all if
              nothing is speech; what follows the last one is as that. Probability and sounds are those of the speech
- `odds`      float32 (seconds,): log odds of speech of each second by itself

What is not in the file: decoding, resampling, and the voice activity detector, with its gain.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from export.front_ends import embedding_of
from export.gate_graph import sound_of
from export.graphs import Graph, Shape, Value
from export.verify import ParityError, open_session
from s2f_edge import faces
from s2f_edge.hearing.chosen import ChosenWindows
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.frontend import FRONT_ENDS
from s2f_edge.hearing.quality import SpeechMeter
from s2f_edge.hearing.speech_gate import CLASSES
from s2f_edge.pack.manifest import NetworkFile
from s2f_edge.pack.pack import Pack
from s2f_edge.pack.roles import APPEARANCE, TensorInfo
from s2f_edge.picture import NOTICE, SOURCE_TYPE, Pixels
from s2f_edge.pipeline import MIN_SPEECH_S, Speech2Face
from s2f_edge.results import SURE_OF_GENDER, Appearance
from s2f_edge.terms import GENDERS

LEAST_PSNR_DB, LEAST_COSINE = 40.0, 0.9999


@dataclass(frozen=True)
class Judged:
    """How far a single file is from the pipeline, on the clip where it is farthest."""

    clips: int
    least_cosine: float
    least_psnr_db: float
    largest_probability_difference: float


def single_file(pack: Pack, generator: str = "auto", drawn: bool = True) -> bytes:
    """A pack as one model.

    Args:
        generator: auto keeps all of the pack's, and the voice or the input chooses; general, male or female keeps one.
        drawn: False leaves the renderer out, of a pack that has one: `inner`, `outer` and `shape`, which it takes,
            come in the place of `faces`.

    Raises:
        ValueError: the pack has no such generator, or none that auto could fall back to.
        PackIntegrityError: a file of the pack differs from its manifest.
    """
    manifest = pack.manifest
    names = list(manifest.generators) if generator == "auto" else [generator]
    if (generator == "auto" and "general" not in names) or not set(names) <= set(manifest.generators):
        raise ValueError(
            f"The pack {manifest.name} has the generators {', '.join(manifest.generators)}; {generator} needs "
            f"{'general' if generator == 'auto' else 'one of that name'}. Choose another with --generator."
        )
    graph, size = Graph(), manifest.voice.embedding_size
    waveform, noise, wanted = Value(graph, "waveform"), Value(graph, "noise"), Value(graph, "generator")

    def read(name: str) -> onnx.ModelProto:
        return onnx.load_from_string(pack.read(name))

    voice = read(manifest.voice.file)
    sound = sound_of(graph, waveform)
    probability, sounds = sound.verdict()
    nobody = graph.length(noise).apply("Equal", np.array([0]))
    embedding = graph.either(
        nobody,
        lambda: graph.value(np.zeros(size, np.float32)),
        lambda: embedding_of(
            graph,
            manifest.voice.features,
            waveform,
            sound.used(),
            lambda features: graph.network(voice, features=features)["embedding"],
            size,
            manifest.voice.windows,
        ),
        (size,),
    )
    outputs: list[tuple[Value, str, int, list[int | str]]] = [
        (embedding, "embedding", TensorProto.FLOAT, [size]),
        (probability, "speech_probability", TensorProto.FLOAT, [1]),
        (sounds, "sounds", TensorProto.FLOAT, [len(CLASSES)]),
        # ONNX Runtime for iOS has no booleans.
        (sound.speech.cast(TensorProto.UINT8), "speech", TensorProto.UINT8, ["seconds"]),
        (sound.odds, "odds", TensorProto.FLOAT, ["seconds"]),
    ]
    male = None
    if manifest.traits:
        traits = graph.network(read(manifest.traits.file), embedding=embedding.shaped(1, size))
        male = traits["male"].shaped(1)
        outputs += [
            (male, "male_probability", TensorProto.FLOAT, [1]),
            (traits["surprise"].shaped(1), "surprise", TensorProto.FLOAT, [1]),
        ]
    used = _used(graph, wanted if generator == "auto" else None, male, names)
    models = {name: read(manifest.generators[name]) for name in names}
    side = manifest.face_size or "side"
    if manifest.renderer:
        info = manifest.files[manifest.renderer]
        appearance = _appearance(graph, embedding, noise, used, models, info.inputs)
        if drawn:
            renderer = read(manifest.renderer)
            level = graph.either(
                nobody,
                lambda: graph.value(np.zeros((0, 3, *info.outputs[0].shape[-2:]), np.float32)),
                lambda: _drawn(graph, renderer, appearance, info),
                ("faces", 3, side, side),
            )
    else:
        noisy = embedding + noise * manifest.noise
        length = (noisy * noisy).sum(1, keep=True).apply("Sqrt").apply("Max", 1e-12)
        given = {"embedding": noisy / length}
        level = _by_generator(
            graph, used, models, lambda model: graph.network(model, **given)["face"], ("faces", 3, side, side)
        )
    if drawn or not manifest.renderer:
        outputs.append((_pixels(level), "faces", TensorProto.UINT8, ["faces", side, side, 3]))
    else:
        for tensor, part in zip(info.inputs, appearance, strict=True):
            lengths = [length or 1 for length in tensor.shape[1:]]
            outputs.append((part.shaped(-1, *lengths), tensor.name, TensorProto.FLOAT, ["faces", *lengths]))
    outputs.append((used, "generator_used", TensorProto.INT32, [1]))
    inputs: list[tuple[str, int, list[int | str]]] = [("waveform", TensorProto.FLOAT, ["samples"])]
    inputs += [("generator", TensorProto.INT32, [1])] if generator == "auto" else []
    inputs += [("noise", TensorProto.FLOAT, ["faces", manifest.noise_size])]
    outputs.sort(key=lambda output: _ORDER.index(output[1]))
    data: bytes = graph.model(inputs, outputs, _facts(pack, generator, names)).SerializeToString()
    return data


_ORDER = (
    "faces", *APPEARANCE, "embedding", "male_probability", "surprise", "generator_used", "speech_probability", "sounds",
    "speech", "odds",
)  # fmt: skip


def _used(graph: Graph, wanted: Value | None, male: Value | None, names: list[str]) -> Value:
    """Which generator runs: int32 (1,), an index into `GENDERS`; as `Speech2Face` chooses."""
    general = np.array([GENDERS.index("general")], np.int32)
    if wanted is None:
        return graph.value(np.array([GENDERS.index(names[0])], np.int32))
    heard = graph.value(general)
    if male is not None:
        for name, probability in (("male", male), ("female", 1.0 - male)):
            if name in names:
                sure = probability.apply("GreaterOrEqual", SURE_OF_GENDER)
                heard = graph.op("Where", sure, graph.value(np.array([GENDERS.index(name)], np.int32)), heard)
    asked = graph.op("Where", wanted.apply("Equal", np.array([0], np.int32)), heard, wanted)
    # A number that stands for no generator of this file is taken for the general one, and so told.
    known = graph.value(np.array([False]))
    for name in names:
        known = known.apply("Or", asked.apply("Equal", np.array([GENDERS.index(name)], np.int32)))
    return graph.op("Where", known, asked, graph.value(general))


def _by_generator(
    graph: Graph,
    used: Value,
    models: dict[str, onnx.ModelProto],
    made: Callable[[onnx.ModelProto], Value],
    shape: Shape,
) -> Value:
    """What is made with the generator that runs; the others do not run."""

    def by(names: list[str]) -> Value:
        if len(names) == 1:
            return made(models[names[0]])
        this = used.apply("Equal", np.array([GENDERS.index(names[0])], np.int32))
        return graph.either(this, lambda: made(models[names[0]]), lambda: by(names[1:]), shape)

    return by(sorted(models, key=GENDERS.index, reverse=True))


def _appearance(
    graph: Graph,
    embedding: Value,
    latents: Value,
    used: Value,
    models: dict[str, onnx.ModelProto],
    tensors: tuple[TensorInfo, ...],
) -> list[Value]:
    """The tensors of the appearance, one row for each latent, each flat: a branch gives a single value."""
    rows = graph.joined(graph.length(latents), embedding.apply("Shape"))
    given = {"embedding": graph.op("Expand", embedding, rows), "latent": latents}
    lengths = [int(np.prod([length or 1 for length in tensor.shape[1:]])) for tensor in tensors]

    def flat(model: onnx.ModelProto) -> Value:
        made = graph.network(model, **given)
        parts = [made[tensor.name].shaped(-1, length) for tensor, length in zip(tensors, lengths, strict=True)]
        return graph.joined(*parts, axis=1)

    together = _by_generator(graph, used, models, flat, ("faces", sum(lengths)))
    ends = np.cumsum([0, *lengths])
    return [together.cut(1, int(start), int(end)) for start, end in pairwise(ends)]


def _drawn(graph: Graph, renderer: onnx.ModelProto, appearance: list[Value], info: NetworkFile) -> Value:
    """Faces, one after the other, so that many need no more memory than one."""
    side = info.outputs[0].shape[-1] or 0

    def one(*parts: Value) -> tuple[Value, ...]:
        given = {
            tensor.name: part.shaped(1, *(length or 1 for length in tensor.shape[1:]))
            for tensor, part in zip(info.inputs, parts, strict=True)
        }
        return (graph.network(renderer, **given)["face"].shaped(3, side, side),)

    lengths = [int(np.prod([length or 1 for length in tensor.shape[1:]])) for tensor in info.inputs]
    sequences = [
        (part, TensorProto.FLOAT, (length,)) for part, length in zip(appearance, lengths, strict=True)
    ]  # fmt: skip
    return graph.scan(one, sequences, outputs=((3, side, side),))[0]


def _pixels(faces: Value) -> Value:
    """float32 faces to uint8 pixels, rounded as in `faces.pixels`."""
    level = faces * 127.5 + 127.5
    rounded = level.apply("Clip", np.float32(0.0), np.float32(255.0)).apply("Round")
    return rounded.cast(TensorProto.UINT8).apply("Transpose", perm=[0, 2, 3, 1])


def _facts(pack: Pack, generator: str, names: list[str]) -> dict[str, str]:
    """The metadata of the file."""
    manifest = pack.manifest
    facts = {
        "pack": f"{manifest.name} {manifest.version}",
        "pack_sha256": pack.sha256,
        "licence": manifest.licence,
        "notice": NOTICE,
        "digital_source_type": SOURCE_TYPE,
        "features": manifest.voice.features,
        "sample_rate": str(SAMPLE_RATE),
        "least_samples": str(int(MIN_SPEECH_S * SAMPLE_RATE)),
        "embedding_size": str(manifest.voice.embedding_size),
        "noise_size": str(manifest.noise_size),
        "face_size": str(manifest.face_size),
        "generator": generator,
        "generators": json.dumps({name: GENDERS.index(name) for name in names}),
        "sounds": json.dumps(CLASSES),
        "sure_of_gender": str(SURE_OF_GENDER),
    }
    if manifest.traits:
        facts["strange_surprise"] = str(manifest.traits.strange)
    return {f"s2f.{key}": value for key, value in facts.items()}


# --------------------------------------------------------------------------- is it the same?


def judge(
    data: bytes,
    pack: Pack,
    clips: list[Float32s],
    generator: str = "auto",
    renderer: bytes | None = None,
    least_cosine: float = LEAST_COSINE,
) -> Judged:
    """Runs the file and the pipeline on the same speech: the face of the voice, and another candidate.

    Args:
        clips: float32, what a voice detector kept.
        renderer: that draws what a file without a renderer gives; None: the pack's.
        least_cosine: of embeddings.

    Raises:
        ParityError: a face below 40 dB, an embedding below that cosine, or another generator.
    """
    model = Speech2Face(pack.folder, device="cpu", variant=None)
    session = open_session(data)
    draws = open_session(renderer) if renderer else None
    cosines, ratios, differences = [], [], []
    for number, clip in enumerate(clips):
        total, speech = _heard(model, clip)
        wanted = (total / np.linalg.norm(total)).astype(np.float32)
        noise = faces.latents(pack.manifest.noise_size, 2, number)
        found = run(session, clip, noise)
        cosines.append(float(found["embedding"] @ wanted / np.linalg.norm(found["embedding"])))
        used = GENDERS[int(found["generator_used"][0])]
        male = model._traits(wanted)[0]
        if generator == "auto" and male is not None and abs(max(male, 1 - male) - SURE_OF_GENDER) > 0.01:
            heard = "general" if max(male, 1 - male) < SURE_OF_GENDER else "male" if male > 0.5 else "female"
            if used != (heard if heard in pack.manifest.generators else "general"):
                raise ParityError(f"The file chose the {used} generator; the voice is {heard} with {male:.3f}.")
        if "faces" in found:
            pictures = found["faces"]
        elif draws:
            one = ({name: found[name][i : i + 1] for name in APPEARANCE} for i in range(len(noise)))
            pictures = faces.pixels(np.concatenate([draws.run(["face"], given)[0] for given in one]))
        else:
            pictures = model.render(Appearance(*(found[n] for n in APPEARANCE)))
        pictures = pictures.astype(np.float64)
        for ours, theirs in zip(pictures, _candidates(model, wanted, noise, used), strict=True):
            ratios.append(10.0 * np.log10(255.0**2 / max(float(np.square(ours - theirs).mean()), 1e-4)))
        differences.append(abs(float(found["speech_probability"][0]) - speech))
    judged = Judged(len(clips), min(cosines), float(min(ratios)), max(differences))
    if not (judged.least_cosine >= least_cosine and judged.least_psnr_db >= LEAST_PSNR_DB):
        raise ParityError(
            f"The single file is not the pipeline: the least cosine of embeddings is {judged.least_cosine:.6f} "
            f"({least_cosine} is needed), the least PSNR of faces {judged.least_psnr_db:.1f} dB ({LEAST_PSNR_DB:.0f})."
        )
    return judged


def _candidates(model: Speech2Face, embedding: Float32s, noise: Float32s, generator: str) -> Pixels:
    """What the pipeline makes of an embedding with that noise."""
    manifest = model.pack.manifest
    if manifest.renderer:
        return model.generate(np.repeat(embedding[None], len(noise), axis=0), generator, noise)
    return model.generate(faces.unit(embedding + manifest.noise * noise), generator)


def _heard(model: Speech2Face, clip: Float32s) -> tuple[NDArray[np.float64], float]:
    """The sum of the embeddings of voiced sound by the pipeline, and its probability of speech."""
    voice = model.pack.manifest.voice
    meter, front_end = SpeechMeter(), FRONT_ENDS[voice.features]()
    meter.push(clip, clip)
    quality = meter.finish()
    front_end.push(clip)
    for start, end in meter.left_out().tolist():
        front_end.cut(start, None if end == len(clip) else end)
    chosen = ChosenWindows(voice.windows, front_end.BATCH, front_end.CLEAR)
    chosen.take(front_end.committed())
    return model.embed_windows(chosen.inputs(front_end.inputs())), quality.speech_probability


def run(session: Any, clip: Float32s, noise: Float32s, generator: int = 0) -> dict[str, Any]:
    """Runs a single file; outputs by name."""
    names = [output.name for output in session.get_outputs()]
    given: dict[str, Any] = {"waveform": clip, "noise": noise}
    if "generator" in [each.name for each in session.get_inputs()]:
        given["generator"] = np.array([generator], np.int32)
    return dict(zip(names, session.run(names, given), strict=True))
