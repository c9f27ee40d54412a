"""Speech2Face: recording -> speech -> features -> embedding -> face, with a clock on every stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge import faces
from s2f_edge.clock import Clock
from s2f_edge.errors import UsageError
from s2f_edge.hearing import quality
from s2f_edge.hearing.features import Float32s
from s2f_edge.hearing.quality import QualityWarning, SpeechQuality
from s2f_edge.pack.network import Network, chosen_providers, settled_variant
from s2f_edge.pack.networks import Networks
from s2f_edge.pack.pack import Pack
from s2f_edge.results import Appearance, FaceResult, Voice, unusual
from s2f_edge.terms import GENDERS

if TYPE_CHECKING:
    from s2f_edge.hearing import audio
    from s2f_edge.picture import Pixels
    from s2f_edge.talk.motion import MotionNetwork
    from s2f_edge.talk.talk import Talk

MIN_SPEECH_S = 1.0


class Speech2Face:
    """A pack, loaded: call `infer` for a face, `embed` for the voice embedding alone.

    Networks are loaded, and checked, when they are first needed. An object may be used from several threads.

    Args:
        pack: folder of a model pack; None takes the default pack.
        device: `auto` takes CUDA where it is there, `cpu`, or `cuda`, which raises without it.
        threads: of one network call; None leaves the choice to onnxruntime.
        variant: light (a smaller voice network), int8, float16 or float32, if the pack has it; None: the pack itself;
            auto: int8 on processors with VNNI or its like, see `settled_variant`.
        all_windows: the voice network hears all of a long recording; otherwise as many windows as the manifest says.
        once: for one recording, sooner and in less memory: the voice network is loaded, and found wrong, while that is
            heard, and given back before the renderer is loaded.

    Attributes:
        windows: the most that the voice network hears of a recording; None for all.

    Raises:
        UsageError: there is no variant of this name.
        PackError, DeviceError, RuntimeSetupError: see `Pack` and `Network`.
    """

    def __init__(
        self,
        pack: Any = None,
        device: str = "auto",
        threads: int | None = None,
        variant: str | None = "auto",
        all_windows: bool = False,
        once: bool = False,
    ) -> None:
        self.pack = Pack.open(pack, settled_variant(pack, variant, device))
        self.device = device
        self.windows = None if all_windows else self.pack.manifest.voice.windows
        self._networks = Networks(self.pack, device, threads, once)
        self._motion: MotionNetwork | None = None
        self._voice = self.pack.manifest.voice.file
        if once:
            chosen_providers(device)  # what is wrong with it, is now
        else:
            self.network(self._voice)

    @property
    def pack_name(self) -> str:
        return f"{self.pack.manifest.name} {self.pack.manifest.version}"

    @property
    def variant(self) -> str:
        """The variant that runs, by the name of its weights; the pack itself has one too."""
        return self.pack.manifest.weights

    @property
    def provider(self) -> str:
        """The execution provider that runs the voice network."""
        return self.network(self._voice).provider

    @property
    def face_size(self) -> int:
        """Width and height of the faces, in pixels: 64 or 256 with the packs that there are."""
        return self.pack.manifest.face_size

    def load(self, talk: bool = False) -> None:
        """Loads and checks every network now, which the first calls do otherwise.

        Args:
            talk: also those by which faces speak, where the pack has them.

        Raises:
            PackError, DeviceError: see `Network`.
        """
        manifest = self.pack.manifest
        for name in (*manifest.generators.values(), *self._needed()):
            self.network(name)
        if talk and manifest.motion:
            self.motion_network()
        if talk and manifest.animator:
            self.network(manifest.animator.file)

    def infer(
        self,
        source: audio.Source,
        sample_rate: int | None = None,
        *,
        gender: str = "auto",
        samples: int = 1,
        seed: int | None = None,
        denoise: bool = False,
    ) -> FaceResult:
        """A plausible face for the voice in a recording.

        Args:
            source: path, bytes of a file, binary file object, or numpy samples.
            sample_rate: of numpy samples, in Hz.
            gender: which generator: male, female, general, or auto (by the voice; general where that is unsure).
            samples: how many faces, 1 to 64: the first is that of the voice, the others are drawn, with latent numbers
                where the pack has a renderer, else around the embedding with the pack's noise.
            seed: what the others are drawn with; None draws one, and the result has it.
            denoise: lowers steady noise first; the default pack does better without.

        Raises:
            UsageError: an argument out of its range.
            AudioError: the recording cannot be read, or is not enough speech.
        """
        self._checked(gender, samples, seed)  # before the recording is read
        if not self._networks.once:
            self._networks.load_ahead(self._needed(gender))  # which takes as long as hearing a few seconds of speech
        voice = self.embed(source, sample_rate, denoise=denoise)
        self._networks.done(self._voice, self._needed(gender))
        return self.face(voice, gender=gender, samples=samples, seed=seed)

    def talk(
        self,
        source: audio.Source,
        sample_rate: int | None = None,
        *,
        gender: str = "auto",
        seed: int = 0,
        fps: float = 25,
        size: int = 256,
        head: float = 1.0,
        blink: float = 1.0,
        brows: float = 1.0,
        denoise: bool = False,
    ) -> Talk:
        """The face for the voice in a recording, saying the recording: frames as they come, or a file.

        The recording is heard for its face first, and read once more for each iteration; a pipe or a binary file is
        copied to the disk for that. The first frame is the face of `infer`. No photograph can be given: only faces
        that do not exist are made to talk.

        Args:
            source, sample_rate, gender, denoise: as of `infer`.
            seed: of blinks and of the movements of the head.
            fps: frames a second, 1 to 60.
            size: width and height in pixels, 16 to 1024.
            head, blink, brows: how much of each, 0 (none) to 2.

        Raises:
            UsageError, AudioError: as of `infer`.
            PackError: the pack has nothing that moves a face.
        """
        from s2f_edge.hearing.spool import twice
        from s2f_edge.talk.talk import Talk, TalkSettings

        self._checked(gender, 1, seed)
        settings = TalkSettings(seed, fps, size, head, blink, brows).checked()
        self._need_renderer()
        with twice(source) as again:
            result = self.infer(again, sample_rate, gender=gender, seed=seed, denoise=denoise)
            return Talk(self, again, sample_rate, result, settings)

    def embed(self, source: audio.Source, sample_rate: int | None = None, *, denoise: bool = False) -> Voice:
        """The voice embedding of a recording, with its measurements; arguments and errors of `infer`."""
        self._networks.load_ahead([self._voice])
        from s2f_edge.hearing import audio

        notes = audio.Notes()
        return self.embed_blocks(audio.stream(source, sample_rate, notes), denoise=denoise, notes=notes)

    def embed_blocks(
        self, blocks: Iterator[Float32s], *, denoise: bool = False, notes: audio.Notes | None = None
    ) -> Voice:
        """The voice embedding of decoded sound.

        Args:
            blocks: float32 (n,), mono, 16 kHz, in [-1, 1], as `audio.stream` gives them.
            denoise: as of `infer`.
            notes: what is missing of the recording, as `audio.stream` fills it.
        """
        from s2f_edge.listening import Listener  # while the voice network loads, as `audio`

        clock = Clock()
        listener = Listener(self.pack.manifest.voice.features, self.windows, denoise=denoise, clock=clock)
        for block in clock.each("decode", blocks):
            listener.push(block)
        heard = listener.finish()
        return self.voice_of(heard.quality, heard.windows, clock.ms, notes=notes)

    def voice_of(
        self,
        measured: SpeechQuality,
        windows: Iterable[tuple[Float32s, Float32s]],
        timings_ms: dict[str, float] | None = None,
        committed: NDArray[np.float64] | None = None,
        notes: audio.Notes | None = None,
    ) -> Voice:
        """The voice of a recording from its measurements and windows.

        Args:
            measured: by a `Listener` that heard the recording.
            windows: of its speech, as the pack's front end gives them.
            timings_ms: of the stages before; this one is added to it.
            committed: what `embed_windows` gave for windows that the front end has already given.
            notes: what is missing of the recording.

        Raises:
            NotSpeechError, TooLittleSpeechError: the recording is not enough speech.
        """
        clock = Clock(timings_ms)
        quality.require_speech(measured, MIN_SPEECH_S, notes.damage() if notes else "")
        provider = self.provider  # waits until the network is loaded
        with clock("embedding"):
            total = self.embed_windows(windows)
            embedding = faces.unit(total if committed is None else committed + total)
        male, surprise, strange = self._traits(embedding)
        warnings = (*(notes.warnings() if notes else ()), *quality.warnings(measured), *strange)
        return Voice(embedding, measured, male, surprise, warnings, clock.ms, provider)

    def embed_windows(self, windows: Iterable[tuple[Float32s, Float32s]]) -> NDArray[np.float64]:
        """The sum of the embeddings of windows, by their weight: float64, (embedding,), not of unit length."""
        total, network = np.zeros(self.pack.manifest.voice.embedding_size), self.network(self._voice)
        for inputs, weights in windows:
            total += weights @ network.run({"features": inputs})["embedding"]
        return total

    def generator_for(self, gender: str, voice: Voice) -> str:
        """The generator that `face` would take for a voice."""
        return self._choose(gender, voice)[0]

    def face(self, voice: Voice, *, gender: str = "auto", samples: int = 1, seed: int | None = None) -> FaceResult:
        """Faces for a voice that `embed` gave; the arguments are those of `infer`."""
        samples, seed = self._checked(gender, samples, seed)
        clock = Clock(dict(voice.timings_ms))
        chosen, notes = self._choose(gender, voice)
        manifest = self.pack.manifest
        if manifest.renderer is None:
            with clock("generator"):
                made = self.generate(faces.with_noise(voice.embedding, manifest.noise, samples, seed), chosen)
        else:
            with clock("generator"):
                appearance = self._appearance(voice.embedding, chosen, samples, seed)
            self._networks.done(manifest.generators[chosen])
            with clock("renderer"):
                made = self.render(appearance)
        provider = self.network(manifest.renderer or manifest.generators[chosen]).provider
        return FaceResult(
            made, voice, chosen, gender, seed, (*voice.warnings, *notes), self.pack_name, self.pack.sha256,
            self.variant, provider, {**clock.ms, "total": sum(clock.ms.values())},
        )  # fmt: skip

    def appearance(
        self, voice: Voice, *, gender: str = "auto", samples: int = 1, seed: int | None = None
    ) -> Appearance:
        """The first half of `face`, for packs with a renderer; `render` is the other.

        With the same arguments and a seed, the two joined make `face`'s faces. `generator_for` names the generator.

        Args:
            voice, gender, samples, seed: as of `face`.

        Raises:
            UsageError: an argument is out of its range, or the pack has no renderer.
        """
        samples, seed = self._checked(gender, samples, seed)
        self._need_renderer()
        return self._appearance(voice.embedding, self.generator_for(gender, voice), samples, seed)

    def render(self, appearance: Appearance) -> Pixels:
        """The pictures of appearances: uint8 (n, side, side, 3), RGB.

        Faces are drawn one after the other: many need no more memory than one, and none depends on the others.

        Raises:
            UsageError: the pack has no renderer, or the arrays have other shapes than it takes.
        """
        renderer = self._need_renderer()
        return faces.rendered(self.network(renderer), self.pack.manifest.files[renderer], appearance)

    def generate(self, embeddings: Float32s, generator: str, latents: Float32s | None = None) -> Pixels:
        """The faces of embeddings.

        Args:
            embeddings: float32 (n, embedding), of unit length.
            generator: general, male or female.
            latents: float32 (n, latent), for packs with a renderer alone; None is 0, the faces of the voices.

        Returns:
            uint8 (n, height, width, 3), RGB.

        Raises:
            UsageError: there are latents, and the pack takes none.
        """
        manifest = self.pack.manifest
        network = self.network(manifest.generators[generator])
        if manifest.renderer is None:
            if latents is not None:
                raise UsageError(f"The pack {self.pack_name} takes no latents: it has no renderer.")
            return faces.pixels(network.run({"embedding": embeddings})["face"])
        if latents is None:
            latents = np.zeros((len(embeddings), manifest.noise_size), np.float32)
        return self.render(faces.appearance_of(network, faces.unit(embeddings), latents))

    def _traits(self, embedding: Float32s) -> tuple[float | None, float | None, list[QualityWarning]]:
        info = self.pack.manifest.traits
        if info is None:
            return None, None, []
        found = self.network(info.file).run({"embedding": embedding[None]})
        male, surprise = float(found["male"][0]), float(found["surprise"][0])
        return male, surprise, [unusual(surprise, info.strange)] if surprise > info.strange else []

    def _needed(self, gender: str = "auto") -> list[str]:
        """The files that a face needs beside the voice network, as far as that is known before the voice is."""
        manifest = self.pack.manifest
        files = (manifest.traits.file if manifest.traits else None, manifest.generators.get(gender), manifest.renderer)
        return [name for name in files if name]

    def _checked(self, gender: str, samples: int, seed: int | None) -> tuple[int, int]:
        """Number of faces, and the seed."""
        self._check_gender(gender)
        return faces.drawn(samples, seed)

    def _check_gender(self, gender: str) -> None:
        if gender not in GENDERS:
            raise UsageError(f"gender is {gender!r}; it must be one of {', '.join(GENDERS)}.")
        if gender not in ("auto", *(generators := self.pack.manifest.generators)):
            raise UsageError(f"The pack {self.pack_name} has no {gender} generator; it has {', '.join(generators)}.")

    def _choose(self, gender: str, voice: Voice) -> tuple[str, list[QualityWarning]]:
        """The generator that runs, and what is to be said about the choice."""
        self._check_gender(gender)
        if gender != "auto":
            return gender, []
        generators = self.pack.manifest.generators
        if voice.gender in generators:
            return voice.gender, []
        if "general" not in generators:
            raise UsageError(
                f"auto needs a general generator where the voice is {voice.gender}; the pack {self.pack_name} has only "
                f"{', '.join(generators)}. Ask for one of them."
            )
        return "general", [voice.why_general()]

    def _appearance(self, embedding: Float32s, generator: str, samples: int, seed: int) -> Appearance:
        """Of the voice, and of other candidates: the embedding stays as it is, and latent numbers are drawn."""
        manifest = self.pack.manifest
        embeddings = np.repeat(faces.unit(embedding[None]), samples, axis=0)
        latents = faces.latents(manifest.noise_size, samples, seed)
        return faces.appearance_of(self.network(manifest.generators[generator]), embeddings, latents)

    def _need_renderer(self) -> str:
        """The file of the renderer."""
        if self.pack.manifest.renderer is None:
            raise UsageError(
                f"The pack {self.pack_name} has no renderer: its generators make pictures at once. `face` gives them; "
                "appearances need a pack with a renderer."
            )
        return self.pack.manifest.renderer

    def motion_network(self) -> MotionNetwork:
        """What moves faces by sound, loaded when it is first asked for.

        Raises:
            ManifestError: the pack has none.
            PackError, DeviceError: see `Network`.
        """
        from s2f_edge.talk.motion import MotionNetwork

        if self._motion is None:  # two threads may both load it at first; the second is dropped
            self._motion = MotionNetwork(self.pack, self.device)
        return self._motion

    def network(self, name: str) -> Network:
        """A network of the pack, by the name of its file, loaded when it is first asked for.

        Raises:
            PackError, DeviceError: see `Network`.
        """
        return self._networks.get(name)
