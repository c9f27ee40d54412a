"""The commands `fit` and `sample` of `python -m s2f_train`."""

from __future__ import annotations

import dataclasses
import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2f_edge.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from s2f_train.config import RunSettings
    from s2f_train.fit.loop import Task

log = logging.getLogger(__name__)

# Each kind of fit, in the module of its name: the class of its task, and what its command does.
FITS = {
    "voice": ("VoiceTask", "Train the voice embedding network E on the speakers of a store."),
    "gan": ("GanTask", "Train a generator on the voices and faces of a store."),
    "vae": ("VaeTask", "Train the VAE branch: a face decoder, then a voice encoder."),
    "light": ("LightTask", "Distil a pack's voice network into a light one."),
    "renderer": ("RendererTask", "Train the renderer, which draws a portrait from its sketch."),
    "appearance": ("AppearanceTask", "Train the generators, which predict the sketch of a face from a voice."),
    "mouth": ("MouthTask", "Train the network that paints the inside of the mouth."),
    "talk": ("TalkTask", "Train the motion network, which moves a face by speech."),
}

Config = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE", help="A TOML file, or one that comes with s2f_train: wen2019, thesis2023_general, ..."
    ),
]
Given = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Settings that override the recipe.")
]
Resume = Annotated[Path | None, typer.Option(metavar="RUN", help="Continue a run.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print data, parameters, FLOPs and memory; train nothing.")]
ShowSettings = Annotated[bool, typer.Option("--settings", help="Print every setting with its default, and exit.")]


def register(app: typer.Typer) -> None:
    fits = typer.Typer(no_args_is_help=True, help="Train the networks of a pack.")
    app.add_typer(fits, name="fit")

    for kind, (_, what) in FITS.items():
        fits.command(kind, help=what)(_command(kind))

    @app.command()
    def sample(
        run: Annotated[Path, typer.Argument(help="A run of `fit gan`, or a checkpoint.")],
        clips: Annotated[list[Path], typer.Argument(help="Recordings of voices.", metavar="CLIP ...")],
        out: Annotated[Path, typer.Option(help="PNG to write: one face per clip, side by side.")] = Path("sample.png"),
    ) -> None:
        """Draw the faces that a checkpoint generates for recordings, without an export."""
        from s2f_edge.errors import S2FError
        from s2f_train.fit.sample import sample as make

        try:
            make(run, clips, out)
        except (ValueError, OSError, S2FError) as error:
            raise SystemExit(f"error: {error}") from None
        print(f"wrote {out}")


def _command(kind: str) -> Callable[..., None]:
    """The command that trains a kind."""

    def command(
        config: Config = None,
        given: Given = None,
        resume: Resume = None,
        dry_run: DryRun = False,
        settings: ShowSettings = False,
    ) -> None:
        _fit(kind, config, given or [], resume, dry_run, settings)

    return command


def _fit(kind: str, config: str | None, given: list[str], resume: Path | None, dry_run: bool, show: bool) -> None:
    from s2f_train.recipes import described

    if show:
        for key, default, text in described(kind):
            print(f"{key:18} {default:36} {text}")
        return
    if config and "=" in config and not Path(config).exists():  # with --resume no recipe is named
        given = [config, *given]
        config = None
    try:
        settings = _settings(kind, config, given, resume)
        finished = _run(kind, settings, resume, dry_run)
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from None
    except RuntimeError as error:
        said = _known_failure(error)
        if not said:
            raise
        raise SystemExit(f"error: {said}") from None
    except KeyboardInterrupt:  # before the first step, or a second one
        typer.echo("stopped at once; steps since the last checkpoint are lost", err=True)
        finished = False
    if not finished:
        raise SystemExit(INTERRUPTED)


def _known_failure(error: RuntimeError) -> str:
    """What to say of an error of torch that is no fault of the code; "" for any other."""
    import torch

    from s2f_train.fit.processes import lost_a_process

    if isinstance(error, torch.OutOfMemoryError):
        return f"{str(error).splitlines()[0]} Give a smaller batch; --dry-run tells what a step takes."
    return "Another process of this fit has ended; its own message says why." if lost_a_process(error) else ""


def _settings(kind: str, config: str | None, given: list[str], resume: Path | None) -> RunSettings:
    from s2f_train.config import SettingsError
    from s2f_train.fit.run import RunError
    from s2f_train.recipes import find_recipe, load

    if resume:
        if config:
            raise SettingsError(f"{config} and --resume: a run goes on with its own settings; give only what changes.")
        path = resume / "settings.toml"
        if not path.exists():
            raise RunError(f"{resume} is no run: it has no settings.toml.")
    elif not config:
        raise SettingsError("Which recipe? Give a TOML file or a name such as thesis2023_general, or --resume RUN.")
    else:
        path = find_recipe(config)
    settings = load(kind, path, given)
    if not settings.store:
        raise SettingsError("store is not set: give the folder that `prepare` made, as store=FOLDER.")
    return settings


def _run(kind: str, settings: RunSettings, resume: Path | None, dry_run: bool) -> bool:
    """Trains; whether it got to the end."""
    from s2f_train.fit.loop import fit
    from s2f_train.fit.processes import launch, leave
    from s2f_train.fit.run import RunFolder

    if dry_run:
        from s2f_train.fit.plan import plan

        alone = dataclasses.replace(settings, devices=1, num_nodes=1, accelerator="cpu", compile=False)
        print(plan(make_task(kind, alone, launch(alone), for_plan=True), settings))
        return True
    fabric = launch(settings)
    if fabric.global_rank:
        logging.disable(logging.INFO)  # the first process speaks for all
    task = make_task(kind, _pinned(kind, settings, resume) if resume else settings, fabric)
    start = _restored(task, resume) if resume else 0
    if start >= settings.steps:
        raise ValueError(f"{resume} is at step {start} of {settings.steps}; to go further, give steps=N.")
    folder = None
    if fabric.is_global_zero:
        if resume:
            folder = RunFolder.reopen(resume, start)
            folder.keep_settings(kind, settings)
        else:
            folder = RunFolder.create(Path(settings.runs), kind, task.name, settings)
        log.info("run folder %s, from step %d", folder.path, start)
    try:
        finished = fit(task, fabric, folder, start)
        if folder and finished:
            log.info("finished; the last checkpoint is %s", folder.checkpoint_at(settings.steps))
    except Exception as error:
        if folder:
            folder.note(f"error: {error}")
        raise
    finally:
        if folder:
            folder.close()
    leave(fabric)
    # Fabric kills the first process when another one ends with a status.
    return finished or not fabric.is_global_zero


def _pinned(kind: str, settings: Any, resume: Path) -> Any:
    """Settings whose voice network is the one of the run's own checkpoint: the run it came from may have gone on."""
    from s2f_train.fit.run import newest_checkpoint

    return dataclasses.replace(settings, voice=str(newest_checkpoint(resume)), start="") if kind == "gan" else settings


def make_task(kind: str, settings: Any, fabric: Fabric, for_plan: bool = False) -> Task:
    """The task of a kind. `for_plan`: one whose step costs what it costs, with made-up embeddings of the voices."""
    made: Task = getattr(importlib.import_module(f"s2f_train.fit.{kind}"), FITS[kind][0])(settings, fabric, for_plan)
    return made


def _restored(task: Task, resume: Path) -> int:
    """Puts a run's newest checkpoint into the task; the step it is of."""
    from s2f_train import checkpoint
    from s2f_train.fit.run import newest_checkpoint

    facts = checkpoint.restore(newest_checkpoint(resume), task.networks, task.optimisers)
    if facts["store"] != task.facts["store"]:
        raise checkpoint.CheckpointError(
            f"{resume} learnt from another store than {task.settings.store} is now (plan {facts['store']['plan']}, "
            f"here {task.facts['store']['plan']}). Go on with that store, or begin a run with start={resume}."
        )
    return int(facts["step"])
