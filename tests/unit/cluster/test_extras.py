"""Extras: what of them is not installed, and what a user is told."""

from __future__ import annotations

import importlib.metadata

import pytest

from cluster.preflight.extras import ExtraMissing, missing_packages, require_extras

pytestmark = pytest.mark.unit

REQUIREMENTS = [
    "pytest>=8",
    "no-such-package-of-all",
    'pytest; extra == "nemo"',
    'No_Such.Recogniser[asr]==3.0; extra == "nemo"',
    'no-such-voice>=1; extra == "training"',
    'no-such-windows-tool; sys_platform == "win32" and extra == "training"',
]


@pytest.fixture(autouse=True)
def _requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _name: REQUIREMENTS)


def test_only_what_the_extras_add_is_missed() -> None:
    assert missing_packages("nemo") == ["No_Such.Recogniser"]
    assert missing_packages("nemo", "training") == ["No_Such.Recogniser", "no-such-voice"]
    assert missing_packages("embedded") == []


def test_refusal_says_what_needs_it_and_how_it_comes() -> None:
    require_extras("embedded", needed_by="voxray call")
    with pytest.raises(ExtraMissing, match=r"voxray asr .*No_Such.*make develop.*voxray\[nemo,training\]"):
        require_extras("nemo", "training", needed_by="voxray asr")
