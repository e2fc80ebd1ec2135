import numpy as np
import pytest

from pipelines.audio.codecs import decode_a_law, decode_mu_law
from pipelines.wire.audio_streams import InputAudioDecoder, OutputAudioEncoder, WireFormat

pytestmark = pytest.mark.unit


def tone(rate_hz: int, duration_s: float = 1.0) -> bytes:
    time_s = np.arange(int(rate_hz * duration_s)) / rate_hz
    return (10_000 * np.sin(2 * np.pi * 440 * time_s)).astype("<i2").tobytes()


def largest_step(pcm: bytes) -> int:
    return int(np.max(np.abs(np.diff(np.frombuffer(pcm, "<i2").astype(int)))))


@pytest.mark.parametrize(("wire_format", "frame_bytes"), [("audio/pcm", 960), ("audio/pcmu", 160), ("audio/pcma", 160)])
def test_decoder_returns_20_ms_at_16_khz_for_20_ms_of_wire_audio(wire_format: str, frame_bytes: int) -> None:
    decoder = InputAudioDecoder(WireFormat(wire_format))
    assert [len(decoder.decode(b"\x55" * frame_bytes)) for _ in range(4)] == [640] * 4


def test_decoder_refuses_half_a_sample_of_pcm() -> None:
    with pytest.raises(ValueError, match="even number"):
        InputAudioDecoder(WireFormat.PCM).decode(b"\0" * 961)


def test_decoder_takes_any_number_of_g711_bytes() -> None:
    assert len(InputAudioDecoder(WireFormat.PCMU).decode(b"\xff" * 161)) == 161 * 2 * 2


@pytest.mark.parametrize("wire_format", list(WireFormat))
def test_tone_goes_through_both_directions(wire_format: WireFormat) -> None:
    encoder = OutputAudioEncoder(wire_format)
    coded = encoder.encode(tone(24_000)) + encoder.flush()
    assert len(coded) == wire_format.bytes_per_second
    out = np.frombuffer(InputAudioDecoder(wire_format).decode(coded), "<i2")
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert np.argmax(spectrum) * 16_000 / len(out) == pytest.approx(440, abs=2)
    assert np.max(np.abs(out)) == pytest.approx(10_000, rel=0.06)


@pytest.mark.parametrize(("wire_format", "decode"), [(WireFormat.PCMU, decode_mu_law), (WireFormat.PCMA, decode_a_law)])
def test_encoder_does_not_click_at_chunk_borders(wire_format: WireFormat, decode) -> None:
    pcm, encoder, coded = tone(24_000), OutputAudioEncoder(wire_format), b""
    for start in range(0, len(pcm), 1234):
        coded += encoder.encode(pcm[start : start + 1234])
    coded += encoder.flush()
    assert len(coded) == 8000
    assert largest_step(decode(coded)) < 1.2 * largest_step(tone(8_000)) + 512  # 512: the coarsest step near 10,000


def test_signal_goes_on_unbroken_between_the_two_g711_formats() -> None:
    decoder = InputAudioDecoder(WireFormat.PCMU)
    mu_law, a_law = OutputAudioEncoder(WireFormat.PCMU), OutputAudioEncoder(WireFormat.PCMA)
    first = (mu_law.encode(tone(24_000)) + mu_law.flush())[:4000]
    second = (a_law.encode(tone(24_000)) + a_law.flush())[4000:]
    out = decoder.decode(first)
    decoder.switch(WireFormat.PCMA)
    out += decoder.decode(second)
    assert len(out) == 32_000
    assert largest_step(out) < 1.2 * largest_step(tone(16_000)) + 512


def test_decoder_reads_24_khz_after_a_switch_from_8_khz() -> None:
    decoder = InputAudioDecoder(WireFormat.PCMU)
    decoder.decode(b"\xff" * 160)
    decoder.switch(WireFormat.PCM)
    assert len(decoder.decode(b"\0" * 960)) == 640
