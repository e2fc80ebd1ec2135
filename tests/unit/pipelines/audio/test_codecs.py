import warnings

import numpy as np
import pytest

from pipelines.audio.codecs import decode_a_law, decode_mu_law, encode_a_law, encode_mu_law

with warnings.catch_warnings():  # the standard library's own codec, deprecated but exact, is the oracle
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

pytestmark = pytest.mark.unit

ALL_SAMPLES = np.arange(65_536).astype("<u2").tobytes()
ALL_CODES = bytes(range(256))


def test_mu_law_encodes_every_sample_as_the_standard_library_does() -> None:
    assert encode_mu_law(ALL_SAMPLES) == audioop.lin2ulaw(ALL_SAMPLES, 2)


def test_a_law_encodes_every_sample_as_the_standard_library_does() -> None:
    assert encode_a_law(ALL_SAMPLES) == audioop.lin2alaw(ALL_SAMPLES, 2)


def test_mu_law_decodes_every_code_as_the_standard_library_does() -> None:
    assert decode_mu_law(ALL_CODES) == audioop.ulaw2lin(ALL_CODES, 2)


def test_a_law_decodes_every_code_as_the_standard_library_does() -> None:
    assert decode_a_law(ALL_CODES) == audioop.alaw2lin(ALL_CODES, 2)


@pytest.mark.parametrize(("encode", "decode"), [(encode_mu_law, decode_mu_law), (encode_a_law, decode_a_law)])
def test_codec_keeps_its_own_values_when_they_go_round_again(encode, decode) -> None:
    decoded = decode(ALL_CODES)
    assert decode(encode(decoded)) == decoded


@pytest.mark.parametrize("convert", [encode_mu_law, decode_mu_law, encode_a_law, decode_a_law])
def test_codec_returns_nothing_for_nothing(convert) -> None:
    assert convert(b"") == b""
