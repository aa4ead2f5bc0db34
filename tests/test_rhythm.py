"Faults of `ladmg.rhythm`: what it says to bad input, and phasors that are exact where it is hard to be."
from fractions import Fraction

import numpy as np
import pytest
import torch

from ladmg.audio import Loop
from ladmg.core import LadmgError
from ladmg.groovebox import render_loop
from ladmg.rhythm import (beat_scores, measure_phase, measure_tempo, octave_error, onset_envelope, phase_error, phasor_from_beats, phasors, ramp,
                          render_track, swing, track_beats)

SR = 24000
noise = lambda seconds: np.random.default_rng(0).standard_normal(round(SR*seconds)).astype(np.float32)

@pytest.fixture(scope='module')
def loop(): return render_loop(1, 126)

# Sound without a beat

HEAR = {'tempo': measure_tempo, 'phase': lambda x, sr: measure_phase(x, sr, 126), 'envelope': onset_envelope, 'track': track_beats}
hear = pytest.mark.parametrize('hear', HEAR.values(), ids=HEAR)

def damaged():
    x = noise(8); x[5000] = np.nan
    return x

@hear
@pytest.mark.parametrize('wave,says', [
    (np.zeros(SR*8), 'silent'), (noise(8)*1e-4, 'silent'), (damaged(), 'NaN'), (noise(8)*np.inf, 'NaN'), (noise(.05), 'too short'), (np.zeros(0), 'too short'),
    (np.zeros((2, 2, SR)), 'shape')], ids=['silence', 'nearly silent', 'nan', 'inf', 'short', 'empty', 'shape'])
def test_one_sentence(hear, wave, says):
    with pytest.raises(LadmgError, match=says) as e: hear(wave, SR)
    assert str(e.value).endswith('.') and '\n' not in str(e.value)

@pytest.mark.parametrize('seconds', [5, 12, 60])
def test_noise_has_no_beat(seconds):
    for hear in (measure_tempo, track_beats):
        with pytest.raises(LadmgError, match='[Nn]o (steady )?beat'): hear(noise(seconds), SR)

def test_a_single_hit_and_a_constant():
    click, dc = np.zeros(SR*8), np.ones(SR*8)
    click[SR] = 1
    for x in (click, dc):
        with pytest.raises(LadmgError, match='No steady beat'): measure_tempo(x, SR)

@hear
@pytest.mark.parametrize('sr', [0, -1, 100])
def test_sample_rate(hear, sr):
    with pytest.raises(LadmgError, match='sample rate'): hear(noise(8), sr)

@pytest.mark.parametrize('bpm', [0, 'fast', None, float('nan'), -126, 1e9])
def test_tempo_that_is_none(loop, bpm):
    with pytest.raises(LadmgError, match='BPM'): measure_phase(loop.waveform, SR, bpm)
    with pytest.raises(LadmgError, match='BPM'): measure_tempo(loop.waveform, SR, around=bpm)
    with pytest.raises(LadmgError, match='BPM'): track_beats(loop.waveform, SR, tempi=(bpm, 180))
    with pytest.raises(LadmgError, match='BPM'): phase_error(.1, bpm)
    with pytest.raises(LadmgError, match='BPM'): ramp(120, bpm, 16)

def test_scores_of_what_has_no_beat_are_misses():
    for x in (np.zeros(SR*8), noise(8), noise(.05)):
        s = beat_scores(Loop(x, SR, bpm=126))
        assert s['confidence'] == 0 and all(np.isnan(v) for k, v in s.items() if k != 'confidence')

# Sound with one

def test_tempo_doesnt_depend_on_what_it_comes_in(loop):
    mono = loop.waveform[0]
    heard = [measure_tempo(x, SR) for x in (loop.waveform, mono, mono.numpy(), mono.double(), torch.stack([mono, mono]), mono*1e-2, -mono)]
    assert np.ptp(heard) < .01 and abs(heard[0]-126) < .1

@pytest.mark.parametrize('sr', [8000, 16000, 44100, 48000])
def test_any_sample_rate(sr):
    loop = render_loop(1, 126, sample_rate=sr)
    assert abs(octave_error(measure_tempo(loop.waveform, sr), 126)) < .2
    assert abs(measure_phase(loop.waveform, sr, 126)) < .005

def test_the_octave_is_the_one_asked_for(loop):
    for around, bpm in ((63, 63), (125, 126), (250, 252)): assert abs(measure_tempo(loop.waveform, SR, around=around)-bpm) < .1

def test_length_is_no_hint(loop):
    "The same music cut at a length that suggests another tempo."
    x = loop.waveform[0]
    for n in (len(x)*15//16, len(x)*120//126, len(x)*7//9): assert abs(measure_tempo(x[:n], SR)-126) < .2

def test_one_loop_over_and_over_seldom_gets_wrong_bars():
    "Nothing comes or goes, so only the pattern tells where the bar begins: what is said is mostly true."
    said = []
    for seed in range(12):
        x = render_loop(seed, 128).waveform[0].repeat(8)
        for skip in (0, 3):
            b = track_beats(x[round(skip*SR*60/128):], SR)
            assert b.steady and abs(octave_error(b.bpm, 128)) < .02
            if b.downbeats is not None: said.append(abs(phase_error(b.downbeats[0], 128/4, -skip*60/128)) < .05)
    print(f'said in {len(said)} of 24, right in {sum(said)}')
    assert sum(said) > .7*len(said)

def test_beats_are_inside_and_in_order(loop):
    b = track_beats(loop.waveform[0].repeat(3), SR)
    assert (np.diff(b.beats) > 0).all() and b.beats[0] >= 0 and b.beats[-1] <= 3*loop.seconds and 0 < b.confidence <= 1
    assert phasor_from_beats(b.beats, np.arange(100)/75, b.downbeats).shape == (3, 100)

def test_a_track_is_what_it_says():
    a, b = render_track(3, 140, 20), render_track(3, 140, 20)
    assert torch.equal(a.waveform, b.waveform) and not torch.equal(a.waveform, render_track(4, 140, 20).waveform[:, :a.waveform.shape[1]])
    assert a.seconds >= 20 and len(a.beats) == 4*a.bars and np.allclose(np.diff(a.beats), 60/140, atol=1e-4) and (a.downbeats == a.beats[::4]).all()

def test_a_track_that_slows_down():
    "The tape stretched by 3 % from start to end: the beats follow, and an even grid wouldn't."
    track = render_track(3, 128, 40)
    t = np.arange(int(.97*track.waveform.shape[1]))/SR
    tape = t*(1.02-.02*t/t[-1])
    x, true = np.interp(tape*SR, np.arange(track.waveform.shape[1]), track.waveform[0].numpy()), np.interp(track.beats[track.beats < tape[-1]], tape, t)
    b = track_beats(x, SR)
    assert not b.steady and np.abs(b.beats[:, None]-true[1:-1]).min(0).max() < .02
    assert abs(b.bpm-60/np.diff(true).mean()) < 1

def test_the_range_of_tempi_decides_the_octave():
    x = render_track(3, 100, 20).waveform
    assert abs(track_beats(x, SR).bpm-100) < .1 and abs(track_beats(x, SR, tempi=(130, 220)).bpm-200) < .2

# Phasors

@pytest.mark.parametrize('n,bars', [(1, 1), (2, 1), (7, 3), (571, 4), (1024, 4), (1500, 16), (99991, 64)])
def test_phasors_are_fractions(n, bars):
    p = phasors(n, bars).numpy()
    exact = [[np.float32(float(Fraction(turns*bars*i, n) % 1)) for i in range(n)] for turns in (4, 1, 16)]
    np.testing.assert_array_equal(p, np.array(exact, np.float32))
    assert p.dtype == np.float32 and p.min() == 0 and p.max() < 1

def test_a_loop_twice_is_the_loop_of_twice_the_bars():
    for n, bars in ((571, 4), (100, 1), (333, 2)): assert torch.equal(phasors(2*n, 2*bars), phasors(n, bars).repeat(1, 2))

@pytest.mark.parametrize('shift', [0., 1e-12, -1e-12, 1e-9, -1e-9])
def test_never_one(shift):
    "Times that rounding puts on either side of a beat."
    beats = np.arange(2000)*60/126.7
    p = phasor_from_beats(beats, beats+shift, beats[::4])
    assert p.min() >= 0 and p.max() < 1
    assert torch.minimum(p, 1-p)[0].max() < 1e-4
    distance = torch.minimum(p[1], 1-p[1])[::4]
    assert distance.max() < 1e-4

@pytest.mark.parametrize('n,bars', [(0, 4), (-8, 4), (10.5, 4), (float('nan'), 4), (100, 0), (100, -1), (100, .5)])
def test_loops_are_whole(n, bars):
    with pytest.raises(LadmgError, match='whole number'): phasors(n, bars)

@pytest.mark.parametrize('beats', [[], [1.], [1., 1.], [2., 1.], [0., float('nan')]])
def test_beats_that_are_none(beats):
    with pytest.raises(LadmgError, match='two beats'): phasor_from_beats(beats, [0., 1.])

def test_warps_close_every_bar():
    bars = 4.*np.arange(9)
    np.testing.assert_allclose(swing(.33)(bars), bars, atol=1e-12)
    for a, b in ((120, 128), (174, 90)): np.testing.assert_allclose(ramp(a, b, 32)(bars[[0, -1]]), bars[[0, -1]], atol=1e-12)
    for s in (-.1, 1, 2.):
        with pytest.raises(LadmgError, match='Swing'): swing(s)
