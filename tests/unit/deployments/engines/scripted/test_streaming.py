from __future__ import annotations

import numpy as np
import pytest

from deployments.engines.scripted.streaming import ScriptedStepper
from deployments.engines.streaming.chunk_stepper import SlotAudio

pytestmark = pytest.mark.unit

CHUNK = 160 * 32


def loud(seed: int, size_bytes: int = CHUNK) -> bytes:
    return bytes(np.random.default_rng(seed).integers(-5000, 5000, size_bytes // 2, dtype=np.int16).tobytes())


def test_same_audio_gives_the_same_words_in_any_slot_and_batch() -> None:
    stepper = ScriptedStepper()
    stepper.open(0, "")
    stepper.open(5, "")
    alone = [stepper.step([SlotAudio(0, loud(seed))])[0].text for seed in range(3)][-1]
    for seed in range(2):
        stepper.step([SlotAudio(5, loud(seed)), SlotAudio(0, loud(9))])
    assert stepper.step([SlotAudio(5, loud(2))])[0].text == alone
    assert len(alone.split()) == 3


def test_silence_gives_no_word_and_the_last_word_is_not_stable() -> None:
    stepper = ScriptedStepper()
    stepper.open(0, "")
    assert stepper.step([SlotAudio(0, bytes(CHUNK))])[0].text == ""
    (first,) = stepper.step([SlotAudio(0, loud(1))])
    assert first.stable_chars == 0
    (second,) = stepper.step([SlotAudio(0, loud(2))])
    assert second.text[: second.stable_chars] == first.text


def test_silence_after_words_ends_the_utterance_once() -> None:
    stepper = ScriptedStepper(end_silence_ms=300)
    stepper.open(0, "")
    chunks = [bytes(CHUNK)] * 3 + [loud(1)] + [bytes(CHUNK)] * 4 + [loud(2)] + [bytes(CHUNK)] * 2
    ends = [stepper.step([SlotAudio(0, chunk)])[0].ends_utterance for chunk in chunks]
    assert [index for index, ends_here in enumerate(ends) if ends_here] == [5, 10]


def test_finish_hears_the_rest_and_changes_nothing() -> None:
    stepper = ScriptedStepper()
    stepper.open(0, "")
    (before,) = stepper.step([SlotAudio(0, loud(1))])
    (end,) = stepper.finish([SlotAudio(0, loud(3, 640))])
    assert end.text.startswith(f"{before.text} ")
    assert end.stable_chars == len(end.text)
    assert [(word.start_ms, word.end_ms) for word in end.words] == [(0, 160), (160, 180)]
    assert stepper.finish([SlotAudio(0, b"")])[0].text == before.text
