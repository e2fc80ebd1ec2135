"""The numbers of the PCM formats stand in `pipelines/audio/pcm.py`; the product writes them out nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
HOME = "pipelines/audio/pcm.py"
# Samples or bytes of a second, and bytes of a millisecond, at 16 and 24 kHz.
PER_SECOND = {16_000, 24_000, 32_000, 48_000}
BYTES_PER_MS = {32, 48}

# "path": the reason, one line each.
ALLOWED = {
    "pipelines/wire/session_object.py": "a type of the protocol can only be written as a literal",
}


def written_out(text: str) -> Iterator[int]:
    """Yield the lines on which a source writes a number of a PCM format."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in PER_SECOND:
            yield node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.Mod):
            for side in (node.left, node.right):
                if isinstance(side, ast.Constant) and side.value in BYTES_PER_MS:
                    yield node.lineno
        elif isinstance(node, ast.Assign | ast.AnnAssign) and "BYTES_PER_MS" in ast.unparse(node).partition("=")[0]:
            yield node.lineno


def test_the_product_takes_the_numbers_from_their_home() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")}
    assert set(ALLOWED) | {HOME} <= set(files)
    found = [
        f"{name}:{line}"
        for name, path in sorted(files.items())
        if name not in {HOME, *ALLOWED}
        for line in written_out(path.read_text("utf-8"))
    ]
    assert not found, f"use pipelines.audio.pcm: {found}"


@pytest.mark.parametrize(
    "line", ["x = len(pcm) // 32", "x = 48 * ms", "x = bytes(32_000)", "RATE = 24_000", "_BYTES_PER_MS = n"]
)
def test_a_written_out_number_is_found(line: str) -> None:
    assert list(written_out(line)) == [1]
