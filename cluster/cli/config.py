"""`voxray config`: shows the effective configuration and checks a file."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from cluster.cli.options import FileOption, ProfileOption
from cluster.config.environment import KeyPath, process_environment
from cluster.config.loading import LoadedConfig, load_config, load_with_origins
from cluster.config.paths import resolve_paths
from cluster.config.problems import masked

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Show and check the configuration."
)


@app.command()
def show(
    profile: ProfileOption = None,
    file: FileOption = None,
    origin: Annotated[bool, typer.Option("--origin", help="Show next to each value where it comes from.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Omit the explanations of the values.")] = False,
) -> None:
    """Print the effective configuration as YAML, with an explanation of each value."""
    loaded = load_with_origins(profile, file, process_environment())
    typer.echo("\n".join(_lines(loaded, with_origin=origin, with_meaning=not plain)))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The settings file to check.")],
    profile: ProfileOption = None,
) -> None:
    """Check a settings file against its profile, ignoring the environment."""
    config = load_config(profile, file, {})
    typer.echo(f"{file}: right, with the profile {config.profile}")


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the YAML, with its explanation and the origin of its value."""

    text: str
    meaning: str = ""
    origin: str = ""

    @property
    def indent(self) -> str:
        return self.text[: len(self.text) - len(self.text.lstrip())]


def _lines(loaded: LoadedConfig, *, with_origin: bool, with_meaning: bool) -> list[str]:
    paths = resolve_paths(loaded.config)
    shown = loaded.config.paths.model_copy(update={"state": paths.state, "models": paths.models})
    rows = _rows(loaded.config.model_copy(update={"paths": shown}), (), loaded)
    width = max(len(row.text) for row in rows) + 2
    lines: list[str] = []
    for row in rows:
        if with_meaning and row.meaning:
            lines.append(f"{row.indent}# {row.meaning}")
        lines.append(f"{row.text:<{width}}# {row.origin}" if with_origin and row.origin else row.text)
    return lines


def _rows(section: BaseModel | dict[str, Any], above: KeyPath, loaded: LoadedConfig) -> list[_Row]:
    indent = "  " * len(above)
    rows: list[_Row] = []
    for key, value in dict(section).items():
        path = (*above, key)
        if isinstance(value, BaseModel | dict):
            rows.append(_Row(f"{indent}{key}:", meaning_of(section, key, value)))
            rows += _rows(value, path, loaded)
        else:
            text = f"{indent}{key}: {_scalar(value)}"
            rows.append(_Row(text, meaning_of(section, key, value), loaded.origins.get(path, "default")))
    return rows


def meaning_of(section: BaseModel | dict[str, Any], key: str, value: Any) -> str:
    """Return the meaning of a section's key. For a subsection this is the first line of its docstring."""
    # A type that narrows a field may inherit the description from the type that it narrows.
    for kind in type(section).__mro__:
        field = kind.model_fields.get(key) if issubclass(kind, BaseModel) else None
        if field is not None and field.description:
            return field.description
    return (inspect.getdoc(type(value)) or "").partition("\n")[0] if isinstance(value, BaseModel) else ""


def _scalar(value: Any) -> str:
    plain = to_jsonable_python(value)
    shown = masked(plain) if isinstance(plain, str) else plain
    text: str = yaml.safe_dump(shown, width=10_000, default_flow_style=True)
    return text.removesuffix("...\n").strip()
