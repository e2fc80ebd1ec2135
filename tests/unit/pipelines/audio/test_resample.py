import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audio.resample import StreamResampler

pytestmark = pytest.mark.unit

RATES = [(24_000, 16_000), (8_000, 16_000), (24_000, 8_000), (22_050, 24_000), (16_000, 24_000)]


def tone(hz: float, rate_hz: int, *, duration_s: float = 0.5, amplitude: int = 12_000) -> bytes:
    time_s = np.arange(int(rate_hz * duration_s)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * hz * time_s)).astype("<i2").tobytes()


def whole(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    resampler = StreamResampler(from_hz, to_hz)
    return resampler.process(pcm) + resampler.flush()


def level_db(pcm: bytes, reference: bytes) -> float:
    def rms(audio: bytes) -> float:
        samples = np.frombuffer(audio, "<i2").astype(float)
        return float(np.sqrt(np.mean(samples[200:-200] ** 2)))

    return 20 * np.log10(max(rms(pcm), 1e-9) / rms(reference))


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_aligned_stream_is_exactly_as_long_as_its_input(from_hz: int, to_hz: int) -> None:
    for samples in (0, 1, 479, 480, 10_007):
        assert len(whole(b"\0\0" * samples, from_hz, to_hz)) // 2 == samples * to_hz // from_hz


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_aligned_stream_keeps_a_tone_in_place(from_hz: int, to_hz: int) -> None:
    out = np.frombuffer(whole(tone(1000, from_hz), from_hz, to_hz), "<i2").astype(int)
    expected = np.frombuffer(tone(1000, to_hz), "<i2").astype(int)[: len(out)]
    inner = slice(200, -200)
    assert np.max(np.abs(out[inner] - expected[inner])) < 0.02 * 12_000


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (8_000, 16_000), (24_000, 8_000)])
@pytest.mark.parametrize("hz", [300, 1000, 3000])
def test_speech_band_passes_unchanged(from_hz: int, to_hz: int, hz: int) -> None:
    assert level_db(whole(tone(hz, from_hz), from_hz, to_hz), tone(hz, to_hz)) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "hz"), [(24_000, 16_000, 9_500), (24_000, 8_000, 5_000), (24_000, 8_000, 9_000)]
)
def test_tone_above_the_new_band_does_not_fold_back(from_hz: int, to_hz: int, hz: int) -> None:
    pcm = tone(hz, from_hz)
    assert level_db(whole(pcm, from_hz, to_hz), pcm) < -55


@settings(deadline=None, max_examples=40)
@given(
    rates=st.sampled_from(RATES), sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=12), is_live=st.booleans()
)
def test_stream_is_the_same_however_it_is_cut(rates: tuple[int, int], sizes: list[int], is_live: bool) -> None:
    generator = np.random.default_rng(sum(sizes))
    pcm = generator.integers(-20_000, 20_000, sum(sizes)).astype("<i2").tobytes()
    at_once, in_pieces = (StreamResampler(*rates, is_live=is_live) for _ in range(2))
    expected = at_once.process(pcm) + at_once.flush()
    pieces, start = b"", 0
    for size in sizes:
        pieces += in_pieces.process(pcm[2 * start : 2 * (start + size)])
        start += size
    pieces += in_pieces.flush()
    difference = np.frombuffer(pieces, "<i2").astype(int) - np.frombuffer(expected, "<i2")
    assert len(pieces) == len(expected)
    assert np.max(np.abs(difference), initial=0) <= 1  # sums in another order round differently


@pytest.mark.parametrize(("from_hz", "to_hz", "frame", "out"), [(24_000, 16_000, 480, 320), (8_000, 16_000, 160, 320)])
def test_live_stream_holds_nothing_back(from_hz: int, to_hz: int, frame: int, out: int) -> None:
    resampler = StreamResampler(from_hz, to_hz, is_live=True)
    assert [len(resampler.process(b"\1\0" * frame)) // 2 for _ in range(5)] == [out] * 5
    assert resampler.delay_ms < 2
    assert resampler.flush() == b""


def test_full_scale_input_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(4800) // 48 % 2, 32_767, -32_768).astype("<i2")
    out = np.frombuffer(whole(square.tobytes(), 24_000, 16_000), "<i2").astype(int)
    middles = out[np.arange(len(out)) % 32 == 16]
    assert np.min(np.abs(middles)) > 30_000
    assert np.array_equal(np.sign(middles[:4]), [-1, 1, -1, 1])
    assert out.max() == 32_767
    assert out.min() == -32_768


def test_flush_begins_a_new_stream() -> None:
    resampler = StreamResampler(24_000, 8_000)
    first = resampler.process(tone(500, 24_000)) + resampler.flush()
    assert resampler.process(tone(500, 24_000)) + resampler.flush() == first


def test_equal_rates_pass_through() -> None:
    assert whole(b"\1\2\3\4", 24_000, 24_000) == b"\1\2\3\4"
