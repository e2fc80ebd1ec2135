"""`voxray models`: lists model weights with their licences, and fetches, verifies and pins them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import rich.console
import rich.markup
import rich.progress
import rich.table
import typer

from cluster.catalog.catalog import ModelCatalog, names_used_by
from cluster.catalog.entries import DerivedSource, FolderSource, ModelEntry, find_entry
from cluster.catalog.errors import CatalogError
from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from pipelines.errors import ConfigError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Model weights.")

NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Names of models. Default: those that the configuration uses.")
]


class ConsoleProgress:
    """Shows transfers as progress bars on a terminal, and as one line each elsewhere."""

    def __init__(self, console: rich.console.Console, bars: rich.progress.Progress) -> None:
        self._console = console
        self._bars = bars
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._current: rich.progress.TaskID | None = None

    def begin(self, label: str, total_bytes: int | None) -> None:
        if label not in self._tasks:
            if not self._console.is_terminal:
                self.note(f"{label}: {_size_text(total_bytes)}")
            self._tasks[label] = self._bars.add_task(label, total=total_bytes)
        self._current = self._tasks[label]
        self._bars.update(self._current, total=total_bytes)

    def at(self, done_bytes: int) -> None:
        if self._current is not None:
            self._bars.update(self._current, completed=done_bytes)

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def shown_progress() -> Iterator[ConsoleProgress]:
    """Show transfers on standard error while the block runs."""
    console = rich.console.Console(stderr=True)
    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield ConsoleProgress(console, bars)


@app.command("list")
def list_models(profile: ProfileOption = None, file: FileOption = None) -> None:
    """Print all models with licence, size and state. `*` marks those that the configuration uses."""
    config, catalog = _loaded(profile, file)
    used = set(names_used_by(config))
    table = rich.table.Table("model", "kind", "licence", "size", "state", box=None, pad_edge=False)
    notes: list[str] = []
    for entry in catalog.entries.values():
        licence = entry.licence.spdx
        if entry.licence.note:
            if entry.licence.note not in notes:
                notes.append(entry.licence.note)
            licence += f" [{notes.index(entry.licence.note) + 1}]"
        name = entry.name + (" *" if entry.name in used else "")
        table.add_row(
            name, entry.kind, rich.markup.escape(licence), _size_text(entry.known_bytes), _state(catalog, entry)
        )
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = 140
    console.print(table)
    for number, note in enumerate(notes, start=1):
        console.print(f"[{number}] {note}", markup=False, highlight=False)


@app.command()
def fetch(names: NamesArgument = None, profile: ProfileOption = None, file: FileOption = None) -> None:
    """Fetch and check models. Models that are here already are left alone."""
    config, catalog = _loaded(profile, file)
    wanted = names or names_used_by(config)
    for name in wanted:
        find_entry(catalog.entries, name)
    with shown_progress() as progress:
        for name in wanted:
            if catalog.is_installed(name):
                progress.note(f"{name}: here already")
                continue
            folder = catalog.fetch(name, progress)
            progress.note(f"{name}: checked, in {folder} (licence: {catalog.entries[name].licence.spdx})")


@app.command()
def verify(names: NamesArgument = None, profile: ProfileOption = None, file: FileOption = None) -> None:
    """Hash installed models again. Without names, all of them."""
    _, catalog = _loaded(profile, file)
    wanted = names or [name for name in catalog.entries if catalog.is_here(name)]
    failures = 0
    for name in wanted:
        try:
            catalog.verify(name)
        except CatalogError as error:
            failures += 1
            typer.echo(f"WRONG  {error}", err=True)
        else:
            typer.echo(f"right  {name}")
    if not wanted:
        typer.echo("no model is on this machine")
    raise typer.Exit(1 if failures else 0)


@app.command()
def pin(name: str, profile: ProfileOption = None, file: FileOption = None) -> None:
    """Fetch a model whose hashes the catalog does not know, and trust these files from now on (on this machine)."""
    _, catalog = _loaded(profile, file)
    entry = find_entry(catalog.entries, name)
    if entry.is_pinned:
        typer.echo(f"{name}: the catalog already has its hashes; `voxray models fetch {name}` gets it")
        return
    with shown_progress() as progress:
        progress.note(f"licence: {entry.licence.spdx} {entry.licence.text} {entry.licence.note}".rstrip())
        hashes = catalog.pin(name, progress)
    typer.echo(
        "# trusted on first use; to require the same files on other machines, put this into your own catalog file\n"
        f"{name}:"
    )
    for path, sha256 in hashes.items():
        typer.echo(f"  - {{path: {path}, sha256: {sha256}}}")


@app.command()
def mirror(names: NamesArgument = None, profile: ProfileOption = None, file: FileOption = None) -> None:
    """Copy models to paths.mirror, for machines without internet access. Missing models are fetched first."""
    from cluster.catalog.mirror import origin_of, upload

    config, _ = _loaded(profile, file)
    target = config.paths.mirror
    if not target:
        raise ConfigError("paths.mirror is not set: write paths: {mirror: s3://BUCKET/models} into the settings")
    # Fetch from the original sources, not from the mirror that is being filled.
    paths = config.paths.model_copy(update={"mirror": ""})
    catalog = ModelCatalog.load(config.model_copy(update={"paths": paths}), process_environment())
    wanted = dict.fromkeys(origin_of(catalog, name) for name in names or names_used_by(config))
    with shown_progress() as progress:
        for name in wanted:
            catalog.fetch(name, progress)
            sent = upload(catalog, name, target, progress)
            progress.note(f"{name}: {sum(sent.values())} of {len(sent)} files sent to {target}/{name}")


def _loaded(profile: str | None, file: Path | None) -> tuple[VoxrayConfig, ModelCatalog]:
    config = config_of(profile, file)
    return config, ModelCatalog.load(config, process_environment())


def _state(catalog: ModelCatalog, entry: ModelEntry) -> str:
    if catalog.is_installed(entry.name):
        return "here"
    if catalog.is_here(entry.name):
        return "changed since it was checked"
    if isinstance(entry.source, DerivedSource):
        return f"made from {entry.source.of}"
    if isinstance(entry.source, FolderSource) or catalog.is_pinned(entry.name):
        return "not here"
    return "needs `pin`"


def _size_text(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"
