"Codecs: what is refused, noise that is the same each time, chunks that change nothing, scores of extremes."
import numpy as np
import pytest
import torch

from ladmg.codec.encodec import Encodec
from ladmg.codec.network import FilteredNoise, build_encodec
from ladmg.codec.scores import buzz, gaps, mel_distance, onset_f, onset_peaks, opus
from ladmg.core import LadmgError
from ladmg.groovebox.machine import render_loop

SMALL = dict(n_filters=2, dimension=4, lstm=0)


def small_codec(**config):
    torch.manual_seed(0)
    config = SMALL | config
    return Encodec(build_encodec(**config), config)


@pytest.mark.parametrize('wave, message', [
    (torch.zeros(1, 2, 3200), 'shape'),
    (torch.zeros(1, 1, 0), 'shape'),
    (torch.full((1, 1, 3200), torch.nan), 'NaN'),
])
def test_sound_that_is_none_is_refused(wave, message):
    with pytest.raises(LadmgError, match=message):
        small_codec().encode(wave)


def test_what_a_codec_cannot_do_is_refused():
    codec = small_codec()
    with pytest.raises(LadmgError, match='whole frames'):
        codec.encode(torch.zeros(1, 1, 3201), circular=True)
    with pytest.raises(LadmgError, match='no quantiser'):
        codec.encode(torch.zeros(1, 1, 3200), bandwidth=6.)
    with pytest.raises(LadmgError, match='another codec'):
        codec.decode(torch.zeros(1, 7, 8))
    with pytest.raises(LadmgError, match='at least 4 samples'):
        build_encodec(n_filters=2, noise_window=3)


def test_a_damaged_checkpoint_is_named(tmp_path):
    junk = tmp_path/'junk.th'
    junk.write_bytes(b'no checkpoint')
    with pytest.raises(LadmgError, match='junk.th is not a checkpoint'):
        Encodec.from_pretrained(junk)


def test_a_saved_codec_is_the_same(tmp_path):
    torch.manual_seed(0)
    config = SMALL | dict(n_q=2)
    model = build_encodec(**config)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    x = .1*torch.randn(2, 1, 6400)
    codec = Encodec(model, config).whiten([x], channels=3)
    codec.save(tmp_path/'codec', state, '# A codec of random weights\n')
    again = Encodec.from_pretrained(tmp_path/'codec')
    assert again.channels == 3
    assert again.encode(x).shape[1] == 3
    torch.testing.assert_close(again.decode(again.encode(x)), codec.decode(codec.encode(x)), atol=.02, rtol=.1)


def noisy_codec(folder):
    "A codec with loud noise."
    torch.manual_seed(0)
    config = SMALL | dict(noise_window=160)
    model = build_encodec(**config)
    with torch.no_grad():
        model.decoder.noise.net[3].bias += 4
    state = {k: v.clone() for k, v in model.state_dict().items()}
    Encodec(model, config).save(folder, state, '# A codec that makes noise\n')
    return Encodec.from_pretrained(folder)


def noise_of(codec, z, **way):
    return codec.decode(z, **way)-codec.decode(z, **way, noise=False)


def test_noise_is_saved_and_is_the_same_in_the_same_frame(tmp_path):
    codec = noisy_codec(tmp_path/'codec')
    z = torch.randn(2, 4, 64)
    plain = noise_of(codec, z)
    assert plain.std() > .05
    assert torch.equal(codec.decode(z), codec.decode(z))
    for way in (dict(circular=True), dict(chunk=24), dict(circular=True, chunk=24)):
        inside = noise_of(codec, z, **way)[..., 640:-640] # but for the rim of a piece
        torch.testing.assert_close(inside, plain[..., 640:-640], atol=2e-3, rtol=0)
    around = noise_of(codec, z, circular=True)
    join = (around[..., 0]-around[..., -1]).abs().max()
    assert join < 2*around.diff().abs().max()


def test_noise_keeps_out_of_the_lows():
    torch.manual_seed(0)
    noise = FilteredNoise(4, 160, 40)
    with torch.no_grad():
        noise.net[3].bias += 12 # every gain is open
        filtered = noise(torch.zeros(1, 4, 600), torch.randn(1, 1, 24000))[0, 0]
    power = torch.fft.rfft(filtered).abs().square() # a bin is 1 Hz
    assert power[:300].mean() < 1e-3*power[1000:].mean()
    assert power[700:900].mean() > .5*power[1000:].mean()


@pytest.mark.parametrize('circular', [False, True])
def test_chunks_that_nobody_asked_for_change_nothing(circular):
    codec = small_codec()
    x = .1*torch.randn(2, 1, 600*codec.hop)
    z = torch.randn(2, 4, 600)
    encoded = codec.encode(x, chunk=600, circular=circular)
    decoded = codec.decode(z, chunk=600, circular=circular)
    torch.testing.assert_close(codec.encode(x, circular=circular), encoded, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(codec.decode(z, circular=circular), decoded, atol=1e-5, rtol=1e-4)


def test_a_batch_is_its_loops_and_keeps_what_is_known():
    codec = small_codec()
    z = torch.randn(2, 4, 64)
    both = codec.decode(z, circular=True)
    torch.testing.assert_close(both[:1], codec.decode(z[:1], circular=True), atol=1e-5, rtol=1e-4)
    loop = render_loop(3, 180, bars=1)
    again = codec.reconstruct(loop)
    z = codec.encode_loop(loop)
    [decoded] = codec.decode_loops(z[None], 180, 1)
    assert torch.equal(again.waveform, decoded.waveform)
    assert again.waveform.shape == loop.waveform.shape
    assert (again.bpm, again.bars, again.captions) == (loop.bpm, loop.bars, loop.captions)


def test_scores_of_silence_clicks_and_tones():
    sr = 24000
    x = render_loop(5, 150, bars=1).waveform
    silence = torch.zeros(48000)
    assert onset_f(silence, silence, sr) == 1
    assert onset_f(x, silence, sr) == 0
    assert (gaps(silence, sr) == 0).all()
    tone = torch.sin(torch.arange(48000)*.5)
    assert abs(gaps(tone, sr)).max() < 5
    clicks = torch.zeros(48000)
    clicks[torch.arange(6000, 48000, 6000)] = .9
    times, strength = onset_peaks(clicks, sr)
    np.testing.assert_allclose(times[strength > 1], np.arange(.25, 2, .25), atol=.003)


def test_gaps_are_filled_by_noise_and_not_by_softness():
    sr = 24000
    x = render_loop(9003, bars=2).waveform[0]
    noise = torch.randn(len(x), generator=torch.Generator().manual_seed(0))
    assert np.abs(gaps(x*10**-.05, sr)-gaps(x, sr)).max() <= 1.01
    assert (gaps(x+.01*noise, sr) < gaps(x+.001*noise, sr)+.1).all()


def test_buzz_is_what_repeats():
    sr = 24000
    noise = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    assert buzz(noise, sr) < .05
    assert abs(buzz(noise[:320].repeat(150), sr)-1) < .01
    with pytest.raises(LadmgError, match='four frames'):
        buzz(torch.ones(1000), sr)


def test_opus_is_aligned_and_better_with_more_bits():
    x = render_loop(5, 150, bars=1).waveform
    distances = []
    onsets = []
    for kbps in (8, 32):
        y, taken = opus(x, 24000, kbps)
        assert y.shape == x.shape
        assert abs(taken-kbps) < .35*kbps
        distances.append(mel_distance(x[None], y[None]).item())
        onsets.append(onset_f(x, y, 24000))
    assert distances[1] < .5*distances[0]
    assert onsets[1] >= onsets[0]
