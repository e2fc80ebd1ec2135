"""Makes documents from the docstrings of installed packages, one for each documented function or class.

The source files are read without importing anything. The packages are permissively licensed (PSF, BSD, MIT,
Apache-2.0), and the texts stay on the machine.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

STANDARD_LIBRARY = "python"
PACKAGES = (
    STANDARD_LIBRARY, "numpy", "pandas", "networkx", "sqlalchemy", "redis", "rich", "websockets", "pydantic", "torch",
    "ray",
)  # fmt: skip
MIN_WORDS, MAX_WORDS = 40, 150

_BLOCK_END = re.compile(r"^\s*(?:>>>|\.\. |```|[-=~^]{3,}\s*$|:param|:return|:rtype|@)")
_MARKUP = re.compile(r":[a-z:]+:`~?([^`<]+?)(?: <[^>]*>)?`|``([^`]*)``|`([^`]*)`|\*\*([^*]+)\*\*")
_SECTION = re.compile(
    r"^(?:Args?|Arguments|Parameters|Returns?|Yields?|Raises|Examples?|See Also|Notes|References)\s*:?$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class DocumentedObject:
    """A function or class with its description.

    Attributes:
        package: top-level package, or `STANDARD_LIBRARY`.
        name: its own name, as written ("read_csv").
        module: dotted path of the module.
        summary: the first sentence of the description.
        body: the sentences after it, prose only.
    """

    package: str
    name: str
    module: str
    summary: str
    body: str

    @property
    def spoken_name(self) -> str:
        """The name as a person says it, such as "read csv"."""
        return " ".join(_CAMEL.sub(" ", self.name).replace("_", " ").lower().split())

    @property
    def key(self) -> str:
        """Sort key for a stable order that mixes packages: a digest of module and name."""
        return hashlib.sha256(f"{self.module}.{self.name}".encode()).hexdigest()


def documented_objects(packages: Iterable[str] = PACKAGES) -> list[DocumentedObject]:
    """Return the documented objects of the packages by key, with unique names and unique texts.

    Packages that are not installed are skipped.
    """
    found = sorted((each for package in packages for each in _objects_of(package)), key=lambda each: each.key)
    names: set[str] = set()
    texts: set[str] = set()
    unique: list[DocumentedObject] = []
    for each in found:
        if each.spoken_name not in names and each.summary not in texts:
            unique.append(each)
        names.add(each.spoken_name)
        texts.add(each.summary)
    return unique


def _objects_of(package: str) -> Iterator[DocumentedObject]:
    root = Path(sysconfig.get_paths()["stdlib" if package == STANDARD_LIBRARY else "purelib"])
    folder = root if package == STANDARD_LIBRARY else root / package
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if any(part in {"site-packages", "tests", "test", "lib2to3", "idlelib"} or part[0] == "_" for part in parts):
            continue
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        yield from _objects_in(tree, package, ".".join(parts))


def _objects_in(tree: ast.Module, package: str, module: str) -> Iterator[DocumentedObject]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            prose = _prose(ast.get_docstring(node) or "")
            summary, _, body = prose.partition(". ")
            if len(prose.split()) >= MIN_WORDS and 5 <= len(summary.split()) <= 25 and prose.isascii():
                yield DocumentedObject(package, node.name, module, summary, " ".join(body.split()[:MAX_WORDS]))


def _prose(docstring: str) -> str:
    """Return the sentences of a docstring without code, tables, parameter lists and markup."""
    kept: list[str] = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        lines = paragraph.splitlines()
        if any(_BLOCK_END.match(line) or _SECTION.match(line.strip()) for line in lines):
            if len(kept) > 0 and _SECTION.match(lines[0].strip()):
                break
            continue
        text = " ".join(" ".join(lines).split())
        if len(text.split()) > 3 and text[0].isupper():
            kept.append(text if text[-1] in ".!?:" else f"{text}.")
    return _MARKUP.sub(lambda m: next(g for g in m.groups() if g is not None), " ".join(kept))
