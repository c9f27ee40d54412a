"""Settings: recipes as published, every mistake named, and a file that gives the same again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2f_train import recipes
from s2f_train.config import GanSettings, RunSettings, SettingsError, VoiceSettings
from s2f_train.models.face import Classifier, Discriminator, FaceEmbeddingNetwork
from s2f_train.models.generator import Generator
from s2f_train.models.voice import VoiceEmbeddingNetwork
from s2f_train.recipes import KINDS, as_toml, load

CONFIGS = Path(recipes.__file__).parent / "configs"
RECIPES = sorted(CONFIGS.glob("*.toml"))
THESIS = [CONFIGS / f"thesis2023_{gender}.toml" for gender in ("general", "male", "female")]
PUBLISHED = [CONFIGS / "wen2019.toml", *THESIS]

# What is neither in Wen's paper nor in the thesis.
ADDITIONS = {
    "start": "",
    "pixel_weight": 0.0,
    "ema": 0.0,
    "clip_gradient": 0.0,
}
VOICE_ADDITIONS = {
    "noise_share": 0.0,
    "gain_share": 0.0,
    "telephone_share": 0.0,
    "room_share": 0.0,
    "codec_share": 0.0,
    "clip_gradient": 0.0,
}


def name_of(path: Path) -> str:
    return path.stem


def gan(path: Path, *given: str) -> GanSettings:
    settings = load("gan", path, list(given))
    assert isinstance(settings, GanSettings)
    return settings


def voice(path: Path, *given: str) -> VoiceSettings:
    settings = load("voice", path, list(given))
    assert isinstance(settings, VoiceSettings)
    return settings


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """An empty one: all defaults."""
    path = tmp_path / "recipe.toml"
    path.write_text("")
    return path


# ------------------------------------------------------------------------------- the recipes


# All recipes as all kinds of fit, but those that have fewer steps than a decoder's by default.
SHORT = [path for path in RECIPES if path.stem.startswith(("default_", "light"))]
MEANT = [
    pytest.param(path, kind, id=f"{name_of(path)}-{kind}")
    for path in RECIPES
    for kind in KINDS
    if kind != "vae" or path not in SHORT
]


@pytest.mark.parametrize(("path", "kind"), MEANT)
def test_every_recipe_loads(path: Path, kind: str) -> None:
    assert type(load(kind, path, [])) is KINDS[kind]


@pytest.mark.parametrize("path", SHORT, ids=name_of)
def test_a_recipe_with_too_few_steps_for_a_decoder_is_refused(path: Path) -> None:
    with pytest.raises(SettingsError, match="leave some to the encoder"):
        load("vae", path, [])


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_published_recipes_add_nothing(path: Path) -> None:
    settings = gan(path)
    assert {key: getattr(settings, key) for key in ADDITIONS} == ADDITIONS
    assert {key: getattr(GanSettings(), key) for key in ADDITIONS} == ADDITIONS
    spoken = voice(path)
    assert {key: getattr(spoken, key) for key in VOICE_ADDITIONS} == VOICE_ADDITIONS


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_published_recipes_have_the_specification(path: Path) -> None:
    settings, spoken = gan(path), voice(path)
    for each in (settings, spoken):
        assert (each.batch, each.min_frames, each.max_frames) == (128, 300, 800)
        assert each.precision == "32-true"
    assert 50_000 <= settings.steps <= 100_000
    assert (settings.rate, settings.schedule) == (2e-4, "constant")
    assert (settings.noise, settings.identity_weight, settings.view) == (0.05, 1.0, "photo")


def test_wen_is_adam_without_norms() -> None:
    settings = gan(CONFIGS / "wen2019.toml")
    assert (settings.variant, settings.optimiser, settings.betas) == ("wen2019", "adam", (0.5, 0.999))
    assert settings.gender == "general"


@pytest.mark.parametrize("path", THESIS, ids=name_of)
def test_the_thesis_is_rmsprop_with_norms(path: Path) -> None:
    settings = gan(path)
    assert (settings.variant, settings.optimiser) == ("thesis2023", "rmsprop")
    assert settings.gender == path.stem.removeprefix("thesis2023_")


def test_networks_have_the_specified_sizes() -> None:
    def parameters(network: Any) -> int:
        return sum(p.numel() for p in network.parameters())

    def convolution(narrow: int, wide: int, kernel: int) -> int:
        return narrow * wide * kernel**2 + wide

    for path in PUBLISHED:
        settings, spoken = gan(path), voice(path)
        assert parameters(VoiceEmbeddingNetwork(spoken.channels, spoken.embedding_size)) == 2_670_720
        norms = settings.variant == "thesis2023"
        generator = Generator(spoken.embedding_size, settings.channels, settings.variant)
        assert parameters(generator) == 12_191_875 + norms * 2 * (1024 + 512 + 256 + 128 + 64)
        face = FaceEmbeddingNetwork(
            settings.face_channels, settings.face_embedding, "thesis2023" if norms else "wen2019"
        )
        widths = [(32, 64), (64, 128), (128, 256), (256, 512), (512, 64)]
        plain = convolution(3, 32, 1) + sum(convolution(a, b, 4) for a, b in widths)
        assert parameters(face) == plain + norms * 2 * (64 + 128 + 256 + 512)
        assert parameters(Discriminator(settings.face_embedding)) == 64
        assert parameters(Classifier(924, settings.face_embedding)) == 924 * 64


# ------------------------------------------------------------------------------- the file


def test_the_table_stands_over_the_top_and_the_command_line_over_both(recipe: Path) -> None:
    recipe.write_text("batch = 8\nseed = 1\nrate = 1e-3\n[gan]\nbatch = 16\n[voice]\nbatch = 32\nrate = 1e-2\n")
    assert (gan(recipe).batch, gan(recipe).rate, gan(recipe).seed) == (16, 1e-3, 1)
    assert (voice(recipe).batch, voice(recipe).rate) == (32, 1e-2)
    assert gan(recipe, "batch=64").batch == 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch = ", "cannot be read"),
        ("zzzz = 1", "at the top unknown setting 'zzzz'; known are"),
        ("bacth = 1", "at the top unknown setting 'bacth'; did you mean 'batch'"),
        ("pixel_weight = 1.0", "at the top unknown setting"),
        ("[gan]\nbetta = [0.5, 0.9]", r"in \[gan\] unknown setting 'betta'; did you mean 'betas'"),
        ("[voice]\nbetas = [0.5, 0.9]", r"in \[voice\] unknown setting 'betas'"),
        ("[vocie]\nrate = 1.0", "unknown setting 'vocie'"),
        ("gan = 3", r"gan is a table of settings: \[gan\]"),
        ("[gan]\nbatch = true", "batch is True, a bool; it must be a int"),
        ("[gan]\nbatch = 1.5", "batch is 1.5, a float"),
        ("[gan]\nema = '0.9'", "ema is '0.9', a str; it must be a float"),
    ],
)
def test_mistakes_in_the_file(recipe: Path, text: str, words: str) -> None:
    recipe.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load("gan", recipe, [])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml cannot be read"):
        load("gan", tmp_path / "absent.toml", [])


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe\x00batch")
    with pytest.raises(SettingsError, match="cannot be read"):
        load("gan", path, [])


# ------------------------------------------------------------------------------- key=value


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ("store=folder/of/mine", "store", "folder/of/mine"),
        ("store='folder/of/mine'", "store", "folder/of/mine"),
        ("store=a=b", "store", "a=b"),
        ("store=s3://bucket/store", "store", "s3://bucket/store"),
        ("store=2023", "store", "2023"),
        ("store=true", "store", "true"),
        ("store=1979-05-27", "store", "1979-05-27"),
        ("store=", "store", ""),
        ("variant=wen2019", "variant", "wen2019"),
        ("betas=[0.5, 0.9]", "betas", (0.5, 0.9)),
        ("betas=[0, 1]", "betas", (0.0, 1.0)),
        ('sources=["avspeech", "voxceleb1"]', "sources", ("avspeech", "voxceleb1")),
        ("sources=[]", "sources", ()),
        ("compile=true", "compile", True),
        ("compile=false", "compile", False),
        ("rate=2e-4", "rate", 2e-4),
        ("rate=1", "rate", 1.0),
        ("gan.batch=16", "batch", 16),
        ("clip-gradient=5", "clip_gradient", 5.0),
        ("steps=50_000", "steps", 50_000),
    ],
)
def test_on_the_command_line(recipe: Path, given: str, key: str, value: Any) -> None:
    found = getattr(gan(recipe, given), key)
    assert found == value
    assert type(found) is type(value)


def test_the_last_one_counts(recipe: Path) -> None:
    assert gan(recipe, "batch=2", "batch=4").batch == 4


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("batch", "'batch' is no setting; settings are key=value"),
        ("bacth=2", "On the command line: unknown setting 'bacth'; did you mean 'batch'"),
        ("voice.batch=2", "unknown setting 'voice.batch'"),
        ("zzzz=2", "known are .*accelerator, .*batch"),
        ("batch=many", "batch is 'many', a str; it must be a int"),
        ("batch=2.0", "batch is 2.0, a float"),
        ("compile=1", "compile is 1, a int; it must be a bool"),
        ("compile=yes", "compile is 'yes', a str; it must be a bool"),
        ("rate=true", "rate is True, a bool; it must be a float"),
        ("rate=nan", "finite"),
        ("rate=inf", "finite"),
        ("betas=0.5", "betas is 0.5; it must be a list"),
        ("betas=[0.5, high]", "betas is .*; it must be a list"),
        ("betas=[0.5, true]", "betas is True"),
        ("batch=0", "batch is 0; it must be at least 1"),
        ("rate=-1e-4", "rate is -0.0001; it must be at least 0"),
        ("seed=-1", "seed is -1"),
        ("noise=-1", "noise is -1.0; it must be at least 0"),
        ("sources=s2f", r"sources is 's2f'; it must be a list"),
        ("sources=[1]", "sources is 1, a int; it must be a str"),
        ("variant=wen2020", "variant is 'wen2020'; it must be one of thesis2023, wen2019"),
        ("gender=man", "gender is 'man'; it must be one of general, male, female"),
        ("optimiser=sgd", "optimiser is 'sgd'; it must be one of adam, rmsprop"),
    ],
)
def test_mistakes_on_the_command_line(recipe: Path, given: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load("gan", recipe, [given])


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("gan", ["batch=9", "devices=2"], "batch is 9; 2 processes must share it evenly"),
        ("gan", ["batch=9", "devices=2", "num_nodes=3"], "6 processes"),
        ("gan", ["min_frames=500", "max_frames=400"], "min_frames is 500 and max_frames 400"),
        ("voice", ["min_frames=500", "max_frames=400"], "the other way round"),
        ("voice", ["noise_share=1.1"], "noise_share is 1.1; a share is between 0 and 1"),
        ("voice", ["room_share=2"], "room_share is 2.0; a share"),
        ("voice", ["channels=[]"], "channels is"),
        ("voice", ["channels=[64, 0]"], "each at least 1"),
        ("voice", ["channels=[40, 64]"], "begin with 40; the features have 64 bins"),
        ("voice", ["noise_db=[5]"], r"noise_db is \[5.0\]; it must be \[lowest, highest\]"),
        ("voice", ["noise_db=[30, 5]"], "lowest, highest"),
        ("gan", ["channels=[8, 8, 8]"], r"channels is \[8, 8, 8\]; it must be 5 widths"),
        ("gan", ["face_channels=[8, 8, 8, 8]"], "face_channels .* 5 widths"),
        ("gan", ["betas=[0.5]"], "adam has two"),
        ("gan", ["ema=1"], "ema is 1.0; it must be below 1"),
        ("appearance", ["shrinkage=0"], "shrinkage is 0.0; it must be at least 1e-06"),
    ],
)
def test_what_does_not_go_together(recipe: Path, kind: str, given: list[str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(kind, recipe, given)


# ------------------------------------------------------------------------------- and back again

STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats(min_value=0, max_value=1e300) | st.integers(0, 10**6).map(float)
OF_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: STRINGS,
    float: NUMBERS,
    int: st.integers(1, 2**70),
    bool: st.booleans(),
}
OPTIONS = {kind: {option.name: option for option in dataclasses.fields(KINDS[kind])} for kind in KINDS}
# What may be anything by itself.
FREE = {
    "gan": ["store", "runs", "voice", "view", "start", "rate", "noise", "clip_gradient", "steps", "seed", "compile"],
    "voice": ["store", "runs", "rate", "clip_gradient", "steps", "seed", "compile"],
    "vae": ["store", "runs", "start", "face_weights", "rate", "kl_weight", "pixel_weight", "steps", "seed", "compile"],
    "light": ["store", "runs", "pack", "rate", "width", "last", "steps", "seed", "compile"],
    "renderer": ["store", "runs", "start", "rate", "sketch_weight", "jitter", "steps", "seed", "compile"],
    "appearance": ["store", "runs", "voice", "renderer", "rate", "stretch", "own_directions", "steps", "seed"],
    "talk": ["store", "runs", "rate", "throat", "pace_weight", "components", "versions", "steps", "seed"],
    "mouth": ["store", "runs", "rate", "adversarial_weight", "critic_width", "steps", "seed"],
}


@st.composite
def some_settings(draw: st.DrawFn, kind: str) -> RunSettings:
    defaults = KINDS[kind]()
    values = {key: draw(OF_TYPE[type(getattr(defaults, key))]) for key in FREE[kind]}
    values["sources"] = draw(st.lists(STRINGS, max_size=3))
    for key, option in OPTIONS[kind].items():
        if option.metadata["choices"]:
            values[key] = draw(st.sampled_from(option.metadata["choices"]))
    if kind == "gan":
        values["betas"] = draw(st.lists(NUMBERS, min_size=2, max_size=2))
    if kind == "vae":
        values["decoder_steps"] = draw(st.integers(1, values["steps"]))
        values["steps"] += 1
    return recipes.build(KINDS[kind], values)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@pytest.mark.slow
def test_what_is_written_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    settings = data.draw(some_settings(kind))
    path = tmp_path_factory.mktemp("written") / "settings.toml"
    path.write_bytes(as_toml(kind, settings).encode())
    assert load(kind, path, []) == settings


@pytest.mark.parametrize(("path", "kind"), MEANT)
def test_recipes_are_written_whole(tmp_path: Path, path: Path, kind: str) -> None:
    settings = load(kind, path, [])
    (tmp_path / "settings.toml").write_text(as_toml(kind, settings))
    assert load(kind, tmp_path / "settings.toml", []) == settings


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_described(kind: str) -> None:
    rows = recipes.described(kind)
    assert [key for key, _, _ in rows] == list(OPTIONS[kind])
    assert all(text for _, _, text in rows)
    assert ("variant", '"thesis2023"', "of the networks: thesis2023, wen2019, wen2019-tanh") in recipes.described("gan")


def test_a_setting_that_is_new_must_be_known(recipe: Path) -> None:
    with pytest.raises(SettingsError, match="Among the settings: unknown setting 'bach'; did you mean 'batch'"):
        recipes.build(VoiceSettings, {"bach": 1})
