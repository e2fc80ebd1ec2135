"""Writes README.md of every module and environment of infra/terraform from its .tf files. --check only compares.

It runs in the tools' environment (scripts/terraform-tools), which provides the HCL parser. The text above the line
`<!-- generated -->` in a README is written by people and kept.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).resolve().parents[1] / "infra" / "terraform"
MARK = "<!-- generated: everything below is made by `scripts/terraform-readmes` -->"


def folders() -> list[Path]:
    """Return the folders that have their own README."""
    return sorted(path for kind in ("modules", "environments") for path in (ROOT / kind).iterdir() if path.is_dir())


def parsed(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all blocks of a folder by kind, in the order of the files."""
    blocks: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.tf")):
        for kind, found in hcl2.loads(file.read_text("utf-8")).items():
            blocks.setdefault(kind, []).extend(found)
    return blocks


def declared(blocks: dict[str, list[dict[str, Any]]], kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return name and attributes of the blocks of a kind. The parser wraps each attribute in a list."""
    found = [(name, body) for block in blocks.get(kind, []) for name, body in block.items()]
    return [(name, {key: value[0] for key, value in body.items() if isinstance(value, list)}) for name, body in found]


def introduction(folder: Path) -> str:
    """Return the comment that opens main.tf, as prose."""
    lines = (folder / "main.tf").read_text("utf-8").splitlines()
    prose = []
    for line in lines:
        if not line.startswith("# "):
            break
        prose.append(line.removeprefix("# "))
    return " ".join(prose)


def text(value: object) -> str:
    """Return a value as one line of HCL, without the parser's wrapping."""
    if isinstance(value, str):
        plain = re.fullmatch(r"\$\{(.*)\}", value, re.DOTALL)
        return re.sub(r"\s+", " ", plain[1]) if plain else json.dumps(value)
    return re.sub(r"\s+", " ", json.dumps(value))


def cell(value: str) -> str:
    """Return a value in a form suitable for a table cell."""
    return value.replace("|", "\\|")


def variables(blocks: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the table of variables, starting with the required ones."""
    yield from ("", "## Variables", "", "| name | type | default | description |", "|---|---|---|---|")
    for name, body in sorted(declared(blocks, "variable"), key=lambda each: ("default" in each[1], each[0])):
        default = f"`{cell(text(body['default']))}`" if "default" in body else "**required**"
        kind = re.sub(r"^\$\{|\}$", "", body["type"]) if isinstance(body["type"], str) else text(body["type"])
        shown = "object, see variables.tf" if len(kind) > 40 else f"`{cell(kind)}`"
        yield f"| `{name}` | {shown} | {default} | {cell(body['description'])} |"


def outputs(blocks: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the table of outputs."""
    yield from ("", "## Outputs", "", "| name | description |", "|---|---|")
    for name, body in sorted(declared(blocks, "output"), key=lambda each: each[0]):
        yield f"| `{name}` | {cell(body['description'])} |"


def contents(blocks: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the lists of modules and of resources."""
    used = [(name, body["source"]) for name, body in declared(blocks, "module")]
    if used:
        yield from ("", "## Modules", "", *(f"- [{name}]({source}/README.md)" for name, source in used))
    made = sorted(
        {f"{kind}.{name}" for block in blocks.get("resource", []) for kind, names in block.items() for name in names}
    )
    if made:
        yield from ("", "## Resources", "", *(f"- `{address}`" for address in made))


def rendered(folder: Path) -> str:
    """Return the README as it should be."""
    file = folder / "README.md"
    written = file.read_text("utf-8") if file.exists() else ""
    head = written.partition(MARK)[0].rstrip() or f"# {folder.name}"
    blocks = parsed(folder)
    body = [MARK, "", introduction(folder), *variables(blocks), *outputs(blocks), *contents(blocks)]
    return head + "\n\n" + "\n".join(body) + "\n"


def main() -> int:
    """Write the READMEs, or report which are out of date."""
    stale = [
        f for f in folders() if not (f / "README.md").exists() or (f / "README.md").read_text("utf-8") != rendered(f)
    ]
    if "--check" not in sys.argv:
        for folder in stale:
            (folder / "README.md").write_text(rendered(folder), "utf-8")
    for folder in stale:
        sys.stderr.write(
            f"{'not current' if '--check' in sys.argv else 'written'}: {folder.relative_to(ROOT)}/README.md\n"
        )
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
