"""Front end: numbers against formulas, blocks against whole streams, and signals that are no words."""

from __future__ import annotations

import numpy as np
import pytest

from equilif.data.base.ragged import places, pooled, position
from equilif_golden.front_end import filter_bank, i2s, pdm, tokens
from equilif_golden.front_end.channels import Channels
from equilif_golden.front_end.filter_bank import FilterBank, Frames
from equilif_golden.front_end.log2 import log2
from equilif_golden.front_end.pdm import Pdm
from equilif_golden.front_end.segmentation import (
    HANG,
    LONGEST,
    SHORTEST,
    Segmentation,
    SegmentationState,
    Verdict,
    whole,
)


@pytest.fixture
def rng():
    return np.random.default_rng(37)


def tone(frequency, amplitude, seconds=0.5):
    t = np.arange(int(16_000 * seconds)) / 16_000
    return np.rint(amplitude * np.sin(2 * np.pi * frequency * t)).astype(np.int64)


def frames(levels, clipped=(), stuck=()):
    n = len(levels)
    marks = [np.isin(np.arange(n), at) for at in (clipped, stuck)]
    return Frames(np.array(levels, np.int64)[:, None], *marks)


def blocks(stream, rng, n=7):
    return np.split(stream, np.sort(rng.integers(0, len(stream), n)))


def words(*parts, **flags):
    segmentation = Segmentation()
    levels = [level for level, n in parts for _ in range(n)]
    return segmentation.feed(frames(levels, **flags)), segmentation


QUIET = (10, 60)
WORD = (150, 30)


# -- numbers -----------------------------------------------------------------------------------------
def test_log2_error():
    a = np.concatenate([np.arange(1, 5000), 1 << np.arange(13, 48), (1 << np.arange(13, 48)) - 1])
    assert np.abs(log2(a) - 16 * np.log2(a)).max() < 0.87
    assert log2(0) == log2(1)


def test_pdm_is_cic_and_fir(rng):
    """Against a convolution of the bits with the whole impulse response."""
    bits = rng.integers(0, 2, 64 * 60)
    cic = np.ones(1, np.int64)
    for _ in range(pdm.ORDER):
        cic = np.convolve(cic, np.ones(pdm.RATIO, np.int64))
    x = np.convolve(2 * bits - 1, cic)[pdm.RATIO - 1 : len(bits) : pdm.RATIO] >> pdm.CIC_SHIFT
    y = (np.convolve(x, pdm.TAPS)[1 : len(x) : 2] + 4096) >> 13
    np.testing.assert_array_equal(Pdm().feed(bits), np.clip(y, -32768, 32767))


def test_modulated_tone_comes_back():
    x = tone(500, 20_000)
    y = Pdm().feed(pdm.modulate(x))[1000:]
    spectrum = np.abs(np.fft.rfft(y[:6400] * np.hanning(6400))) ** 2
    peak = int(spectrum.argmax())
    assert peak == 200
    signal = spectrum[peak - 3 : peak + 4].sum()
    assert signal > 10**6.5 * (spectrum[:2400].sum() - signal)
    assert abs(np.abs(y).max() - 0.75 * 20_000) < 150


def test_full_scale_bits_saturate():
    for bit, level in ((0, -32768), (1, 32767)):
        assert Pdm().feed(np.full(64 * 40, bit))[-1] == level


def test_i2s_takes_the_upper_bits():
    assert i2s.samples([-(1 << 23), -1, 255, 256, (1 << 23) - 1]).tolist() == [-32768, -1, 0, 1, 32767]
    with pytest.raises(ValueError, match="8388608"):
        i2s.samples([1 << 23])


@pytest.mark.parametrize("band", [0, 5, 19])
def test_band_of_a_tone(band):
    codes = FilterBank().feed(tone(filter_bank.FREQUENCIES[band], 32_767)).codes[30]
    assert codes.argmax() == band and abs(codes[band] - 240) <= 2
    codes = FilterBank().feed(tone(filter_bank.FREQUENCIES[band], 512)).codes[30]
    assert abs(codes[band] - 16 * 9) <= 2


def test_signals_of_the_filter_bank_fit():
    """Sums of magnitudes of all impulse responses, which bound every signal for 16-bit samples."""
    k, g, a = (c / 65536 for c in filter_bank.COEFFICIENTS)
    state = np.zeros((filter_bank.SECTIONS, 2, filter_bank.BANDS))
    total = np.zeros(1)
    for i in range(6000):
        u = np.full(filter_bank.BANDS, float(i == 0))
        signals = []
        for c in state:
            v0 = k * u
            t = c[0] + g * (v0 - c[1])
            u = a * t
            v2 = c[1] + g * u
            signals += [v0, v0 - c[1], t, u, v2, 2 * u - c[0], 2 * v2 - c[1]]
            c[:] = 2 * u - c[0], 2 * v2 - c[1]
        total = total + np.abs(signals)
    assert np.max(total) < 3.5 < (1 << 23) / (32768 << filter_bank.FRACTION)


def test_filter_bank_ignores_dc():
    bank = FilterBank()
    x = tone(1033, 1000, 1.0)
    expected = FilterBank().feed(x).codes[-1]
    assert np.abs(bank.feed(x + 8000).codes[-1].astype(int) - expected).max() <= 4


def test_filter_bank_flags():
    x = np.zeros(800, np.int64)
    x[170] = 32_767
    x[480:] = 5
    found = FilterBank().feed(x)
    assert found.clipped.tolist() == [False, True, False, False, False]
    assert found.stuck.tolist() == [True, False, True, False, True]


def test_blocks_equal_streams(rng):
    x = rng.integers(-20_000, 20_000, 4000)
    bits = pdm.modulate(x)
    modulator = pdm.Modulator()
    np.testing.assert_array_equal(np.concatenate([modulator.feed(b) for b in blocks(x, rng)]), bits)
    decimator = Pdm()
    samples = Pdm().feed(bits)
    np.testing.assert_array_equal(np.concatenate([decimator.feed(b) for b in blocks(bits, rng)]), samples)
    bank = FilterBank()
    parts = [bank.feed(b) for b in blocks(samples, rng)]
    expected = FilterBank().feed(samples)
    for i in range(3):
        np.testing.assert_array_equal(np.concatenate([p[i] for p in parts]), expected[i])


# -- words -------------------------------------------------------------------------------------------
def test_word_between_silence():
    (word,), _ = words(QUIET, WORD, QUIET)
    assert (word.first, word.last, word.peak, word.verdict) == (60, 89, 150, Verdict.SAMPLE)
    assert word.end == 89 + HANG


@pytest.mark.parametrize(
    "parts, flags, verdicts",
    [
        ([(0, 300)], {}, []),
        ([(100, 400)], {}, [Verdict.LONG]),  # noise that begins
        ([QUIET, (150, SHORTEST - 1), QUIET], {}, [Verdict.SHORT]),
        ([QUIET, (150, SHORTEST), QUIET], {}, [Verdict.SAMPLE]),
        ([QUIET, (150, 2), QUIET], {}, []),  # a click
        ([QUIET, WORD, QUIET], {"clipped": range(60, 64)}, [Verdict.CLIPPED]),
        ([QUIET, WORD, QUIET], {"clipped": range(60, 63)}, [Verdict.SAMPLE]),
        ([QUIET, (150, LONGEST + 5), QUIET, WORD, QUIET], {}, [Verdict.LONG, Verdict.SAMPLE]),
        ([QUIET, WORD, (10, HANG - 1), WORD, QUIET], {}, [Verdict.SAMPLE]),
        ([QUIET, WORD, (10, HANG), WORD, QUIET], {}, [Verdict.SAMPLE] * 2),
        ([QUIET, WORD, QUIET], {"stuck": [80]}, [Verdict.STUCK]),
        ([QUIET, WORD, QUIET], {"stuck": range(80, 150)}, [Verdict.STUCK]),
    ],
)
def test_verdicts(parts, flags, verdicts):
    found, segmentation = words(*parts, **flags)
    assert [w.verdict for w in found] == verdicts
    assert segmentation.state is not SegmentationState.WORD


def test_floor_follows_noise():
    """A word is found above noise that would have been one."""
    found, segmentation = words((90, 600), (150, 30), (90, 100))
    assert [w.verdict for w in found] == [Verdict.LONG, Verdict.SAMPLE]
    assert found[1].first == 600 and found[1].last == 629
    assert segmentation.floor >> 3 == 90


@pytest.mark.parametrize("bit", [0, 1])
def test_unplugged_microphone(bit, rng):
    """Bits stand still within a word."""
    word = np.concatenate([np.zeros(3200, np.int64), rng.integers(-3000, 3000, 4800)])
    bits = np.concatenate([pdm.modulate(word), np.full(64 * 16_000, bit)])
    found = FilterBank().feed(Pdm().feed(bits))
    assert [w.verdict for w in Segmentation().feed(found)] == [Verdict.STUCK]


def test_overload():
    x = np.concatenate([np.zeros(4800, np.int64), np.clip(3 * tone(440, 32_000), -32768, 32767)])
    found = FilterBank().feed(np.concatenate([x, np.zeros(8000, np.int64) + np.arange(8000) % 2]))
    assert [w.verdict for w in Segmentation().feed(found)] == [Verdict.CLIPPED]


def test_segmentation_in_blocks(rng):
    levels = np.repeat(rng.integers(0, 200, 60), rng.integers(1, 60, 60))
    marks = rng.random((2, len(levels))) < 0.01
    expected = Segmentation().feed(Frames(levels[:, None], *marks))
    segmentation = Segmentation()
    found = [
        w
        for at in blocks(np.arange(len(levels)), rng)
        for w in segmentation.feed(Frames(levels[at][:, None], marks[0][at], marks[1][at]))
    ]
    assert found == expected and len({w.verdict for w in expected}) >= 2


def test_end_of_a_stream():
    segmentation = Segmentation()
    assert not segmentation.feed(frames([10] * 20 + [150] * 30))
    assert [w.last for w in segmentation.finish()] == [49]
    assert segmentation.state is SegmentationState.WAITING
    assert whole(frames([10, 150, 45, 43])).last == 2


# -- tokens ------------------------------------------------------------------------------------------
def test_positions_equal_those_of_recordings():
    for m in range(1, tokens.TOKENS + 1):
        np.testing.assert_array_equal(
            tokens.positions(m), position(places(np.array([0, m])), tokens.POSITIONS)
        )


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, LONGEST])
def test_spans_equal_those_of_recordings(n, rng):
    codes = rng.integers(0, 256, (n, 20))
    codes[0, 0] = 255
    expected = pooled(codes.astype(float), np.array([0, n]), tokens.TOKENS)[0]
    assert np.abs(tokens.means(codes) / 16 - expected).max() <= 0.13
    np.testing.assert_array_equal(
        tokens.means(np.maximum(codes - 40, 0) + 3), tokens.means(np.maximum(codes - 40, 0))
    )


def test_scaling(rng):
    x = rng.integers(600, 3000, (4000, 20))
    scaling = tokens.Scaling.of(x.mean(axis=0) / 16, x.std(axis=0) / 16)
    codes = scaling.bands(x)
    z = (x - x.mean(axis=0)) / x.std(axis=0) * 127 / 3
    assert np.abs(codes - np.clip(z, -127, 127)).max() <= 1.1
    word = rng.integers(0, 256, (40, 20))
    assert scaling.tokens(word).shape == (32, 36)
    assert np.abs(scaling.tokens(word)).max() <= 127


@pytest.mark.parametrize("shape", [(0, 20), (LONGEST + 1, 20), (20,)])
def test_words_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=str(LONGEST)):
        tokens.means(np.zeros(shape, np.int64))


# -- channels ----------------------------------------------------------------------------------------
def test_channels(rng):
    x = rng.integers(-32768, 32768, (200, 3))
    found = Channels(3, 4, 2).feed(x)
    assert found.shape == (6, 12)
    w = x[:32].reshape(2, 16, 3)
    means = w.sum(axis=1) >> 4
    expected = [
        *((means[0] >> 8) + 128),
        *log2(np.abs(w[0] - w[0, 0]).sum(axis=0) >> 4),
        *((means[1] >> 8) + 128),
        *log2(np.abs(w[1] - means[0]).sum(axis=0) >> 4),
    ]
    np.testing.assert_array_equal(found[0], np.clip(expected, 0, 255))


def test_channels_from_bytes(rng):
    x = rng.integers(-32768, 32768, (200, 3))
    stream = np.frombuffer(x.astype("<i2").tobytes(), np.uint8)
    channels = Channels(3, 4, 2)
    found = np.concatenate([channels.feed_bytes(b.tobytes()) for b in blocks(stream, rng)])
    np.testing.assert_array_equal(found, Channels(3, 4, 2).feed(x))


@pytest.mark.parametrize("arguments", [(0, 4, 2), (17, 4, 2), (3, 11, 2), (3, 4, 0), (3, 4.0, 2)])
def test_channels_out_of_range(arguments):
    with pytest.raises(ValueError):
        Channels(*arguments)
