"""The conversion refuses what it cannot convert. That its result speaks is proven by test_vllm, which loads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.engines.vllm.gguf import convert
from pipelines.errors import EngineError

pytestmark = pytest.mark.contract


def test_folder_without_exactly_one_model_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(EngineError, match="found 0"):
        convert(source, tmp_path / "target")
    for name in ("a.gguf", "b.gguf"):
        (source / name).touch()
    with pytest.raises(EngineError, match="found 2"):
        convert(source, tmp_path / "target")


@pytest.mark.filterwarnings("ignore")
def test_broken_file_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises((ValueError, OSError, EOFError, IndexError, RuntimeError, KeyError)):
        convert(source, tmp_path / "out" / "target")
    assert list((tmp_path / "out").iterdir()) == []
