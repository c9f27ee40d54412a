"""`s2f-edge serve` and `s2f-edge key`. The flags of `serve` are the fields of `service.settings.ServiceSettings`."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from s2f_edge.errors import RuntimeSetupError, SetupError
from s2f_edge.service.settings import ServiceSettings, setting_help

ENVIRONMENT = "S2F_SERVE_"


def add_to(app: typer.Typer, errors: Callable[[], Any]) -> None:
    """Adds both commands. `errors` is a context that prints an S2FError and exits with its status."""

    def serve(**given: Any) -> None:
        verbose = given.pop("verbose")
        given.pop("config")
        with errors():
            try:
                from s2f_edge.service.app import serve
            except ImportError as error:
                raise RuntimeSetupError(
                    f"The service needs more packages ({error.name} is missing). Install the extra: "
                    "pip install 's2f-edge[serve]'."
                ) from None
            serve(ServiceSettings(**given), verbose, lambda address: print(f"s2f-edge serves at {address}", flush=True))

    serve.__doc__ = (
        "Serve faces over HTTP, with a web page at /.\n\n"
        f"Each setting is a flag, an environment variable {ENVIRONMENT}NAME, or a line `name = value` in the TOML "
        "file given by --config. Flags override the environment, which overrides the file."
    )
    serve.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
    app.command()(serve)

    @app.command()
    def key(
        name: Annotated[str, typer.Argument(help="Name of the key's owner, shown in logs.")],
        file: Annotated[Path, typer.Option(help="Key file for `serve --keys`; the key is added to it.")],
    ) -> None:
        """Create an API key. It is printed once; the file stores only its hash."""
        from s2f_edge.service.keys import KeyRing, new_key

        with errors():
            if file.exists():
                KeyRing(file)  # refuses to append to another kind of file
            made, line = new_key(name)
            try:
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as opened:
                    opened.write(f"{line}\n")
            except OSError as error:
                raise SetupError(f"{file} cannot be written: {error.strerror}.") from None
            print(made)
            print(f"The API key of {name}. It is not shown again; {file} stores its hash.", file=sys.stderr)


def _parameters() -> list[inspect.Parameter]:
    """The flags: one per setting, --config and --verbose."""

    def parameter(name: str, kind: Any, option: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
        )

    config = typer.Option(
        help="TOML file of settings.", envvar=f"{ENVIRONMENT}CONFIG", is_eager=True, callback=_from_file
    )
    verbose = typer.Option("--verbose", "-v", help="Write a debug log.")
    kinds, defaults = get_type_hints(ServiceSettings), ServiceSettings()
    return [
        parameter("config", Path | None, config, None),
        parameter("verbose", bool, verbose, False),
        *(
            parameter(
                name,
                kinds[name],
                typer.Option(help=help.text, envvar=ENVIRONMENT + name.upper(), show_envvar=False),
                getattr(defaults, name),
            )
            for name, help in setting_help().items()
        ),
    ]


def _from_file(context: typer.Context, file: Path | None) -> Path | None:
    """Makes the settings of a file the defaults of the flags."""
    import tomllib

    if file is None:
        return None
    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}.") from None
    unknown = sorted(set(settings) - set(setting_help()))
    if unknown:
        raise typer.BadParameter(f"{file} has unknown settings: {', '.join(unknown)}.")
    context.default_map = {**(context.default_map or {}), **settings}
    return file
