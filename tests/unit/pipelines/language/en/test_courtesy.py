from __future__ import annotations

import pytest

from pipelines.language.en.courtesy import Courtesy, courtesy

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Hello there!", Courtesy.GREETING),
        ("Thanks a lot", Courtesy.THANKS),
        ("okay thank you bye", Courtesy.GOODBYE),
        ("hi, where is the Boulder store?", None),
        ("", None),
        ("all good", None),
    ],
)
def test_small_talk_is_recognised_only_when_nothing_else_is_said(said: str, kind: Courtesy | None) -> None:
    assert courtesy(said) is kind
