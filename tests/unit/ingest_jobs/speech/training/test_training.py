from __future__ import annotations

import pytest

from ingest_jobs.speech.training.model import LOOK_AHEADS, ModelSize, chunk_ms, model_config
from ingest_jobs.speech.training.training import TrainingPlan, difficulty_at, learning_rate

pytestmark = pytest.mark.unit


def test_rate_warms_up_and_falls_to_a_fiftieth_with_the_budget() -> None:
    plan = TrainingPlan(peak_rate=1e-3, warm_up_steps=100)
    assert learning_rate(plan, 0, 0.0) == pytest.approx(1e-5)
    assert learning_rate(plan, 99, 0.0) == pytest.approx(1e-3)
    assert learning_rate(plan, 5000, 0.5) == pytest.approx(5.1e-4)
    assert learning_rate(plan, 9000, 1.0) == pytest.approx(2e-5)
    assert learning_rate(plan, 9000, 1.5) == pytest.approx(2e-5)


def test_look_aheads_are_chunks_of_the_product_and_a_distribution(tmp_path: object) -> None:
    assert [chunk_ms(ahead) for ahead in LOOK_AHEADS] == [160, 80, 560, 1120]
    assert sum(LOOK_AHEADS.values()) == 1.0


def test_model_looks_ahead_by_nothing_but_its_attention() -> None:
    from pathlib import Path

    config = model_config(ModelSize(), Path("tokenizer"))
    assert config["preprocessor"]["normalize"] == "NA"
    assert config["encoder"]["conv_context_size"] == "causal"
    assert config["encoder"]["causal_downsampling"] is True
    assert config["encoder"]["conv_norm_type"] == "layer_norm"
    assert config["encoder"]["att_context_style"] == "chunked_limited"


def test_training_begins_with_easy_speech_and_ends_with_most_of_all_speech_distorted() -> None:
    assert difficulty_at(0.0) == (1.0, 0.0)
    is_easy, share = difficulty_at(0.3)
    assert not is_easy
    assert 0.2 < share < 0.5
    assert difficulty_at(1.0) == (0.0, pytest.approx(0.6))
