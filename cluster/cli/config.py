"""`voxray config`: show the tree in force, check a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from cluster.config.environment import KeyPath, process_environment
from cluster.config.loading import LoadedConfig, load_config, load_with_origins
from cluster.config.paths import resolve_paths
from cluster.config.problems import masked

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Show and check the configuration."
)

ProfileOption = Annotated[str | None, typer.Option(help="Profile: embedded, nvidia, inferentia or scripted.")]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="Settings file; otherwise VOXRAY_CONFIG or voxray.yaml.")
]


@app.command()
def show(
    profile: ProfileOption = None,
    file: FileOption = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say beside each value where it comes from.")] = False,
) -> None:
    """Print the configuration in force as YAML."""
    loaded = load_with_origins(profile, file, process_environment())
    typer.echo("\n".join(_lines(loaded, with_origin=origin)))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The settings file to check.")],
    profile: ProfileOption = None,
) -> None:
    """Check a settings file by itself (the environment does not count) against its profile."""
    config = load_config(profile, file, {})
    typer.echo(f"{file}: right, with the profile {config.profile}")


def _lines(loaded: LoadedConfig, *, with_origin: bool) -> list[str]:
    tree = loaded.config.model_dump(mode="json")
    paths = resolve_paths(loaded.config)
    tree["paths"].update(state=str(paths.state), models=str(paths.models))
    rows = _rows(tree, (), loaded)
    if not with_origin:
        return [text for text, _ in rows]
    width = max(len(text) for text, _ in rows) + 2
    return [f"{text:<{width}}# {origin}" if origin else text for text, origin in rows]


def _rows(tree: dict[str, Any], above: KeyPath, loaded: LoadedConfig) -> list[tuple[str, str]]:
    indent = "  " * len(above)
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        path = (*above, key)
        if isinstance(value, dict):
            rows.append((f"{indent}{key}:", ""))
            rows += _rows(value, path, loaded)
        else:
            scalar = yaml.safe_dump(
                masked(value) if isinstance(value, str) else value, width=10_000, default_flow_style=True
            )
            text = scalar.removesuffix("...\n").strip()
            rows.append((f"{indent}{key}: {text}", loaded.origins.get(path, "default")))
    return rows
