"""What of the configuration reaches NeMo."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.engines.nemo import NemoSettings
from deployments.engines.nemo.recognizer import phrases_by_tenant

pytestmark = pytest.mark.unit


def test_phrases_are_known_by_tenant() -> None:
    settings = NemoSettings.model_validate(
        {"phrases": [{"phrases": ["Larkspur"]}, {"tenant": "acme", "phrases": ["Anvil"]}]}
    )
    assert phrases_by_tenant(settings) == {"": ("Larkspur",), "acme": ("Anvil",)}


@pytest.mark.parametrize(
    ("setting", "decoder", "taken"),
    [("auto", "ctc", "model.lm"), ("auto", "rnnt", None), ("none", "ctc", None), ("/shop.arpa", "ctc", "shop.arpa")],
)
def test_language_model_is_the_one_beside_the_model_or_as_said(
    tmp_path: Path, setting: str, decoder: str, taken: str | None
) -> None:
    (tmp_path / "model.lm").write_bytes(b"")
    settings = NemoSettings.model_validate({"language_model": setting, "decoder": decoder})
    found = settings.language_model_file(tmp_path / "model.nemo")
    assert (found and found.name) == taken


def test_no_language_model_is_taken_where_none_lies(tmp_path: Path) -> None:
    assert NemoSettings().language_model_file(tmp_path / "model.nemo") is None
