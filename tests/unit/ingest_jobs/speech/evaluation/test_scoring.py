from __future__ import annotations

import pytest

from ingest_jobs.speech.evaluation.scoring import Scored, by_tag, error_rate, score

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("heard", "wrong"),
    [("a b c d", 0), ("a x c d", 1), ("a c d", 1), ("a b b c d", 1), ("", 4), ("d c b a", 4), ("a b c d e f", 2)],
)
def test_substitutions_deletions_and_insertions_are_counted(heard: str, wrong: int) -> None:
    assert score("a b c d".split(), heard.split(), {}).wrong == wrong


def test_rate_is_over_all_words_not_a_mean_of_rates() -> None:
    rate = error_rate([Scored(1, 1, {}), Scored(0, 9, {})])
    assert rate.value == pytest.approx(0.1)
    assert (rate.recordings, rate.words) == (2, 10)


def test_interval_holds_the_rate_and_narrows_with_more_recordings() -> None:
    few = error_rate([Scored(index % 5 == 0, 5, {}) for index in range(20)])
    many = error_rate([Scored(index % 5 == 0, 5, {}) for index in range(2000)])
    assert few.low <= few.value <= few.high
    assert many.value == pytest.approx(0.04)
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert many.low < 0.04 < many.high


def test_no_errors_have_no_interval_and_no_words_no_rate() -> None:
    assert error_rate([Scored(0, 5, {})] * 3).high == 0
    assert error_rate([]).value == 0


def test_groups_are_by_value_and_leave_out_the_untagged() -> None:
    scores = [Scored(1, 2, {"noise": "10 dB"}), Scored(0, 2, {"noise": "none"}), Scored(2, 2, {})]
    groups = by_tag(scores, "noise")
    assert {name: rate.value for name, rate in groups.items()} == {"10 dB": 0.5, "none": 0.0}
