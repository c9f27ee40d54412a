"""The first default pack: voice embeddings of a public encoder, faces by paired regression.

    python -m s2f_train fit-default --data $S2F_DATA --voice-weights Resemblyzer.whl --out runs/default

Reads top to bottom:

1. every clip goes through the runtime's own front end and the public encoder (frozen);
2. gender and typicality are fitted on the embeddings of the training speakers;
3. a kernel ridge regression from embedding to picture, fitted on the AVSpeech pairs, makes
   target pictures for the voices of the other corpora, which have no pictures;
4. the general generator learns the pictures: L1 to the target and to its edges, plus Wen's adversarial loss;
5. the male and the female generator go on from it with the clips of their gender. Half of
   their inputs are moved along the line between the mean female and the mean male
   embedding, the target unchanged, so that they keep to their gender for any voice.
6. all three settle: the regressed pictures, which are means of faces that do not lie on each
   other, give way to the real picture that is nearest to each; the critics begin anew.
"""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from s2f_train import checkpoint
from s2f_train.data.s2f_data import Clip, clips, members
from s2f_train.data.voices import embed
from s2f_train.models.face import Discriminator, FaceEmbeddingNetwork
from s2f_train.models.generator import Generator
from s2f_train.models.traits import VoiceTraits, mean_embedding
from s2f_train.models.voice import load_ge2e, unit

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 0.15  # of the speakers of the corpora without pictures
LICENCE = (
    "Research only, not for commercial use: trained on AVSpeech excerpts (no stated licence), LibriSpeech (CC BY 4.0), "
    "BAVED, DSPSpeech-20 (MIT), Poznan, RAVDESS (CC BY-NC-SA 4.0) and URDU; voice encoder: Resemblyzer (Apache-2.0)."
)
NOISE = 0.05  # standard deviation of the noise on the embedding (SPEC section 3)


@dataclass(frozen=True)
class Settings:
    """What the run is made of; saved in the checkpoint."""

    channels: tuple[int, ...] = (384, 192, 96, 64, 32)
    face_channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    steps: int = 6500
    gender_steps: int = 1200
    settle_steps: int = 700
    batch: int = 32
    unpaired: int = 8  # of a batch: voices with a regressed target
    rate: float = 4e-4
    l1_weight: float = 100.0
    edge_weight: float = 100.0
    ema: float = 0.999
    ridge_gamma: float = 2.0
    ridge_lambda: float = 0.3
    seed: int = 2023


@dataclass(frozen=True)
class Voices:
    """Voices to learn from: windows of each clip, and the picture that belongs to it."""

    windows: list[Tensor]  # each (n, embedding)
    pictures: Tensor  # (clips, 3, 64, 64) in [-1, 1]

    def embeddings(self) -> Tensor:
        return torch.stack([mean_embedding(w) for w in self.windows])

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """A batch: the embedding of a random stretch of a clip, with noise, and its picture."""
        chosen = torch.randint(len(self.windows), (count,)).tolist()
        stretches = []
        for i in chosen:
            n = len(self.windows[i])
            length = int(torch.randint(1, n + 1, ()))
            start = int(torch.randint(n - length + 1, ()))
            stretches.append(mean_embedding(self.windows[i][start : start + length]))
        embedding = torch.stack(stretches)
        # In 256 dimensions noise of 0.05 is as long as the way to the next speaker: half of the draws have none.
        amount = NOISE * torch.rand(count, 1) * (torch.rand(count, 1) < 0.5)
        noise = amount * torch.randn_like(embedding)
        return unit(embedding + noise), self.pictures[chosen]

    def subset(self, keep: list[int]) -> Voices:
        return Voices([self.windows[i] for i in keep], self.pictures[keep])


@dataclass(frozen=True)
class Group:
    """What one generator learns from: pairs, voices with a made picture, and the way to the other gender."""

    faces: Voices
    unpaired: Voices
    shift: Tensor | None


def held_out(clip: Clip) -> bool:
    """Whether a speaker is kept from training: AVSpeech by its split, others by a hash of the name."""
    if clip.corpus == "avspeech":
        return clip.dev
    return hashlib.sha256(clip.speaker.encode()).digest()[0] < 256 * HELD_OUT_SHARE


def load_pictures(root: Path, names: list[str], kind: str = "s2f") -> Tensor:
    """Pictures of AVSpeech clips, (names, 3, 64, 64) in [-1, 1]; kind is s2f, face or photo."""
    found = {}
    for name, data in members(root / "data" / "avspeech" / "avspeech.tar", f".{kind}.jpg"):
        found[name] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((64, 64), Image.Resampling.LANCZOS))
    pixels = torch.from_numpy(np.stack([found[name] for name in names]))
    return (pixels.permute(0, 3, 1, 2).float() - 127.5) / 127.5


def fit(root: Path, voice_weights: Path, out: Path, settings: Settings, start: Path | None = None) -> None:
    """Trains everything of the default pack and writes the checkpoint `out`.

    Args:
        root: folder that holds `data/`.
        voice_weights: of the public encoder, see `load_ge2e`.
        out: checkpoint folder; sheets of pictures and the embeddings are kept beside it.
        settings: of the run.
        start: a checkpoint of this recipe whose generators are taken; steps 4 and 5 are left out.
    """
    began = time.monotonic()
    torch.manual_seed(settings.seed)
    encoder = load_ge2e(voice_weights)
    known = [clip for clip in clips(root) if not held_out(clip)]
    log.info("embedding %d training clips", len(known))
    windows = embed(known, encoder, out.with_name("voices.safetensors"))
    known = [clip for clip in known if clip.name in windows]

    traits, measured = fit_traits(known, windows)
    log.info("traits fitted: %.1f %% of the training labels right", 100 * measured["right"])

    paired = [clip for clip in known if clip.corpus == "avspeech"]
    others = [clip for clip in known if clip.corpus != "avspeech"]
    faces = Voices([windows[c.name] for c in paired], load_pictures(root, [c.name for c in paired]))
    rest = [windows[c.name] for c in others]
    unpaired = Voices(rest, ridge_pictures(faces, torch.stack([mean_embedding(w) for w in rest]), settings))
    groups = {"general": Group(faces, unpaired, None)}
    for gender in ("male", "female"):
        pairs, singles = of_gender(paired, faces, traits, gender), of_gender(others, unpaired, traits, gender)
        groups[gender] = Group(faces.subset(pairs), unpaired.subset(singles), gender_shift(faces, traits, gender))

    sheets = out.with_name("sheets")
    facts: dict[str, Any] = {"recipe": "fit-default", "settings": asdict(settings)}
    generators: dict[str, Generator] = {}
    if start:
        networks, before = checkpoint.load(start)
        generators = {gender: cast(Generator, networks[f"generator_{gender}"]) for gender in groups}
        facts["before"] = {"settings": before["settings"], "seconds": before["seconds"]}
    else:
        general, critic = Generator(encoder.settings["embedding_size"], settings.channels), Critic(settings)
        train(general, critic, groups["general"], settings, settings.steps, settings.rate, sheets / "general")
        generators["general"] = general
        for gender in ("male", "female"):
            generators[gender], its_critic = copy.deepcopy(general), copy.deepcopy(critic)
            path = sheets / gender
            train(generators[gender], its_critic, groups[gender], settings, settings.gender_steps, settings.rate, path)
    for name, group in groups.items():
        settled = Group(group.faces, with_nearest_pictures(group.unpaired, group.faces), group.shift)
        path = sheets / f"{name}_settled"
        train(generators[name], Critic(settings), settled, settings, settings.settle_steps, settings.rate / 2, path)

    facts |= {
        "pairs": len(paired),
        "clips_without_picture": len(others),
        "seconds": round(time.monotonic() - began),
        "traits": measured,
        "noise": NOISE,
        "licence": LICENCE,
    }
    made = {f"generator_{name}": generator.eval() for name, generator in generators.items()}
    checkpoint.save(out, {"voice": encoder, "traits": traits, **made}, facts)
    log.info("wrote %s after %d s", out, facts["seconds"])


# -------------------------------------------------------------------------------- voices


def fit_traits(known: list[Clip], windows: dict[str, Tensor]) -> tuple[VoiceTraits, dict[str, float]]:
    """Gender and typicality from one embedding per speaker and up to three of its clips."""
    per_speaker: dict[str, int] = {}
    rows, labels = [], []
    for clip in known:
        per_speaker[clip.speaker] = per_speaker.get(clip.speaker, 0) + 1
        if per_speaker[clip.speaker] <= 3:
            rows.append(mean_embedding(windows[clip.name]))
            labels.append(float("nan") if clip.male is None else float(clip.male))
    embeddings, male = torch.stack(rows), torch.tensor(labels)
    traits = VoiceTraits(embeddings.shape[1], directions=64)
    traits.fit(embeddings, male)
    with torch.no_grad():
        probability, _ = traits(embeddings)
    sure = ~male.isnan()
    right = ((probability[sure] > 0.5) == (male[sure] > 0.5)).float().mean()
    quantiles = torch.quantile(unseen_surprise(embeddings), torch.tensor([0.5, 0.95, 0.99]))
    names = ("surprise_p50", "surprise_p95", "surprise_p99")
    return traits, {"right": float(right), **dict(zip(names, quantiles.tolist(), strict=True))}


def unseen_surprise(embeddings: Tensor, folds: int = 5) -> Tensor:
    """The surprise of each embedding to traits fitted without its neighbours: what a new speaker gets."""
    found = torch.zeros(len(embeddings))
    # Rows of one speaker stand together, so folds are stretches and not every fifth row.
    fold = torch.arange(len(embeddings)) * folds // len(embeddings)
    with torch.random.fork_rng():
        for i in range(folds):
            traits = VoiceTraits(embeddings.shape[1], directions=64)
            traits.fit(embeddings[fold != i], torch.full((int((fold != i).sum()),), float("nan")))
            with torch.no_grad():
                found[fold == i] = traits(embeddings[fold == i])[1]
    return found


def of_gender(of: list[Clip], voices: Voices, traits: VoiceTraits, gender: str) -> list[int]:
    """Indices of the clips of a gender: by the voice, and by the label where one is known."""
    with torch.no_grad():
        probability, _ = traits(voices.embeddings())
    wanted = gender == "male"
    sure = (probability > 0.7) if wanted else (probability < 0.3)
    return [i for i, clip in enumerate(of) if sure[i] and clip.male in (wanted, None)]


def gender_shift(voices: Voices, traits: VoiceTraits, gender: str) -> Tensor:
    """From the mean embedding of a gender to that of the other, (embedding,)."""
    embeddings = voices.embeddings()
    with torch.no_grad():
        probability, _ = traits(embeddings)
    male, female = embeddings[probability > 0.7].mean(dim=0), embeddings[probability < 0.3].mean(dim=0)
    return female - male if gender == "male" else male - female


def ridge_pictures(faces: Voices, queries: Tensor, settings: Settings) -> Tensor:
    """Pictures for embeddings by kernel ridge regression (Gaussian kernel) on the pairs."""
    known = faces.embeddings()
    flat = faces.pictures.flatten(1)
    mean = flat.mean(dim=0)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-settings.ridge_gamma * torch.cdist(a, b).square())

    system = kernel(known, known) + settings.ridge_lambda * torch.eye(len(known))
    weights = torch.linalg.solve(system, flat - mean)
    made: Tensor = (kernel(queries, known) @ weights + mean).clamp(-1, 1)
    return made.reshape(-1, *faces.pictures.shape[1:])


def with_nearest_pictures(voices: Voices, faces: Voices) -> Voices:
    """The same voices, each with the real picture that is nearest to the one it has."""
    distances = torch.cdist(voices.pictures.flatten(1), faces.pictures.flatten(1))
    return Voices(voices.windows, faces.pictures[distances.argmin(dim=1)])


# ------------------------------------------------------------------------------ training


class Critic(nn.Module):
    """Wen's F and D in one: picture to the logit of "real"."""

    def __init__(self, settings: Settings):
        super().__init__()
        self.face = FaceEmbeddingNetwork(settings.face_channels)
        self.real = Discriminator()

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.real(self.face(pictures))
        return logits.flatten()


def edge_loss(fake: Tensor, target: Tensor) -> Tensor:
    """L1 between differences of neighbouring pixels: eyes and mouths are small, and L1 alone leaves them blurred."""
    rows = (fake.diff(dim=2) - target.diff(dim=2)).abs().mean()
    columns = (fake.diff(dim=3) - target.diff(dim=3)).abs().mean()
    return rows + columns


def moved(pictures: Tensor) -> Tensor:
    """The same random shift, brightness and mirroring for a batch: few pictures, so few ways to learn them by heart."""
    dx, dy = (int(v) for v in torch.randint(-4, 5, (2,)))
    pictures = functional.pad(pictures, (4, 4, 4, 4), mode="replicate")
    pictures = pictures[:, :, 4 + dy : 68 + dy, 4 + dx : 68 + dx] * (0.8 + 0.4 * torch.rand(())) + 0.2 * torch.randn(())
    return pictures.flip(3) if torch.rand(()) < 0.5 else pictures


def train(
    generator: Generator, critic: Critic, group: Group, settings: Settings, steps: int, rate: float, sheets: Path
) -> None:
    """Trains `generator` in place; it ends with the moving average of its weights.

    Every 500 steps a sheet of pictures is written, named after `sheets` and the step: targets
    above, what the average generator makes of the same voices below.
    """
    name, faces, unpaired, shift = sheets.name, group.faces, group.unpaired, group.shift
    generator.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    critic.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(generator)
    make = torch.optim.Adam(generator.parameters(), rate, betas=(0.5, 0.99))
    judge = torch.optim.Adam(critic.parameters(), rate / 2, betas=(0.5, 0.99))
    began = time.monotonic()
    for step in range(steps):
        for options in make.param_groups:
            options["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        (e1, p1), (e2, p2) = faces.draw(settings.batch - settings.unpaired), unpaired.draw(settings.unpaired)
        embedding, target = torch.cat([e1, e2]), torch.cat([p1, p2]).contiguous(memory_format=torch.channels_last)
        if shift is not None:
            share = 1.2 * torch.rand(len(embedding), 1) * (torch.rand(len(embedding), 1) < 0.5)
            embedding = unit((embedding + share * shift).clamp_min(0))
        with torch.autocast("cpu", torch.bfloat16):
            fake = generator(embedding)
            real_logits = critic(moved(target[: len(e1)]))
            fake_logits = critic(moved(fake.detach()))
            judge_loss = (
                functional.softplus(-real_logits.float()).mean() + functional.softplus(fake_logits.float()).mean()
            )
        judge.zero_grad(set_to_none=True)
        judge_loss.backward()  # type: ignore[no-untyped-call]
        judge.step()
        with torch.autocast("cpu", torch.bfloat16):
            adversarial = functional.softplus(-critic(moved(fake)).float()).mean()
            l1 = (fake.float() - target).abs().mean()
            loss = settings.l1_weight * l1 + settings.edge_weight * edge_loss(fake.float(), target) + adversarial
        make.zero_grad(set_to_none=True)
        loss.backward()
        make.step()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"{name}: the loss is {loss.item()} at step {step}; lower `rate`.")
        with torch.no_grad():
            decay = min(settings.ema, (1 + step) / (10 + step))
            for slow, fast in zip(average.state_dict().values(), generator.state_dict().values(), strict=True):
                slow.lerp_(fast, 1 - decay) if slow.is_floating_point() else slow.copy_(fast)
        if step % 100 == 0 or step == steps - 1:
            speed = (step + 1) / (time.monotonic() - began)
            log.info(
                "%s step %d/%d: L1 %.4f, adversarial %.3f, critic %.3f, %.1f steps/s",
                name, step, steps, l1.item(), adversarial.item(), judge_loss.item(), speed,
            )  # fmt: skip
        if step % 500 == 499:
            write_sheet(average, faces, sheets.with_name(f"{name}_{step + 1:06d}.png"))
    generator.load_state_dict(average.state_dict())
    generator.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def write_sheet(generator: Generator, faces: Voices, path: Path) -> None:
    """Sixteen voices: their target pictures above, the generator's below."""
    chosen = range(0, len(faces.windows), max(1, len(faces.windows) // 16))[:16]
    generator.eval()
    with torch.no_grad():
        made = generator(torch.stack([mean_embedding(faces.windows[i]) for i in chosen]))
    generator.train()
    rows = torch.stack([faces.pictures[list(chosen)], made.float()])  # (2, 16, 3, 64, 64)
    pixels = (rows.clamp(-1, 1) * 127.5 + 127.5).byte().permute(0, 3, 1, 4, 2).reshape(128, -1, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.numpy()).save(path)
