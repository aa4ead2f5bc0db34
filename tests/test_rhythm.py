"Faults of `ladmg.rhythm`: bad input, and phasors that are exact where it is hard to be."
from fractions import Fraction

import numpy as np
import pytest
import torch

from ladmg.audio import Loop
from ladmg.core import LadmgError
from ladmg.groovebox.machine import render_loop
from ladmg.rhythm.arrangement import render_track
from ladmg.rhythm.beats import track_beats
from ladmg.rhythm.phasors import phasors, phasors_from_beats, ramp, swing
from ladmg.rhythm.tempo import beat_scores, measure_phase, measure_tempo, octave_error, phase_error
from ladmg.spectral import onset_envelope

SR = 24000

def noise(seconds):
    return np.random.default_rng(0).standard_normal(round(SR*seconds)).astype(np.float32)

@pytest.fixture(scope='module')
def loop():
    return render_loop(1, 126)

# Sound without a beat

def phase_at_126(x, sr):
    return measure_phase(x, sr, 126)

MEASURES = {'tempo': measure_tempo, 'phase': phase_at_126, 'envelope': onset_envelope, 'track': track_beats}
each_measure = pytest.mark.parametrize('measure', MEASURES.values(), ids=MEASURES)

def damaged():
    x = noise(8)
    x[5000] = np.nan
    return x

BAD_SOUNDS = {
    'silence': (np.zeros(SR*8), 'silent'),
    'nearly silent': (noise(8)*1e-4, 'silent'),
    'nan': (damaged(), 'NaN'),
    'inf': (noise(8)*np.inf, 'NaN'),
    'short': (noise(.05), 'too short'),
    'empty': (np.zeros(0), 'too short'),
    'shape': (np.zeros((2, 2, SR)), 'shape'),
}

@each_measure
@pytest.mark.parametrize('wave,says', BAD_SOUNDS.values(), ids=BAD_SOUNDS)
def test_one_sentence(measure, wave, says):
    with pytest.raises(LadmgError, match=says) as e:
        measure(wave, SR)
    assert str(e.value).endswith('.') and '\n' not in str(e.value)

@pytest.mark.parametrize('seconds', [5, 12, 60])
def test_noise_has_no_beat(seconds):
    for measure in (measure_tempo, track_beats):
        with pytest.raises(LadmgError, match='[Nn]o (steady )?beat'):
            measure(noise(seconds), SR)

def test_a_single_hit_and_a_constant():
    click = np.zeros(SR*8)
    click[SR] = 1
    constant = np.ones(SR*8)
    for x in (click, constant):
        with pytest.raises(LadmgError, match='No steady beat'):
            measure_tempo(x, SR)

@each_measure
@pytest.mark.parametrize('sr', [0, -1, 100])
def test_sample_rate(measure, sr):
    with pytest.raises(LadmgError, match='sample rate'):
        measure(noise(8), sr)

@pytest.mark.parametrize('bpm', [0, 'fast', None, float('nan'), -126, 1e9])
def test_tempo_that_is_none(loop, bpm):
    calls = [(measure_phase, loop.waveform, SR, bpm), (measure_tempo, loop.waveform, SR, bpm),
             (track_beats, loop.waveform, SR, (bpm, 180)), (phase_error, .1, bpm), (ramp, 120, bpm, 16)]
    for function, *args in calls:
        with pytest.raises(LadmgError, match='BPM'):
            function(*args)

def test_scores_of_what_has_no_beat_are_misses():
    for x in (np.zeros(SR*8), noise(8), noise(.05)):
        s = beat_scores(Loop(x, SR, bpm=126))
        assert s.pop('confidence') == 0
        assert np.isnan(list(s.values())).all()

# Sound with one

def test_tempo_doesnt_depend_on_what_it_comes_in(loop):
    mono = loop.waveform[0]
    same = (loop.waveform, mono, mono.numpy(), mono.double(), torch.stack([mono, mono]), mono*1e-2, -mono)
    tempi = [measure_tempo(x, SR) for x in same]
    assert np.ptp(tempi) < .01
    assert abs(tempi[0]-126) < .1

@pytest.mark.parametrize('sr', [8000, 16000, 44100, 48000])
def test_any_sample_rate(sr):
    loop = render_loop(1, 126, sample_rate=sr)
    assert abs(octave_error(measure_tempo(loop.waveform, sr), 126)) < .2
    assert abs(measure_phase(loop.waveform, sr, 126)) < .005

def test_the_octave_is_the_one_asked_for(loop):
    for around, bpm in ((63, 63), (125, 126), (250, 252)):
        assert abs(measure_tempo(loop.waveform, SR, around=around)-bpm) < .1

def test_length_is_no_hint(loop):
    "The same music cut at a length that suggests another tempo."
    x = loop.waveform[0]
    for n in (len(x)*15//16, len(x)*120//126, len(x)*7//9):
        assert abs(measure_tempo(x[:n], SR)-126) < .2

def test_one_loop_over_and_over_seldom_gets_wrong_bars():
    "Only the pattern shows where the bar begins: what is reported is mostly true."
    right = []
    for seed in range(12):
        x = render_loop(seed, 128).waveform[0].repeat(8)
        for skip in (0, 3):
            start = round(skip*SR*60/128)
            b = track_beats(x[start:], SR)
            assert b.steady
            assert abs(octave_error(b.bpm, 128)) < .02
            if b.downbeats is not None:
                off = phase_error(b.downbeats[0], 128/4, -skip*60/128)
                right.append(abs(off) < .05)
    print(f'reported in {len(right)} of 24, right in {sum(right)}')
    assert sum(right) > .7*len(right)

def test_beats_are_inside_and_in_order(loop):
    b = track_beats(loop.waveform[0].repeat(3), SR)
    assert (np.diff(b.beats) > 0).all()
    assert b.beats[0] >= 0
    assert b.beats[-1] <= 3*loop.seconds
    assert 0 < b.confidence <= 1
    assert phasors_from_beats(b.beats, np.arange(100)/75, b.downbeats).shape == (3, 100)

def test_a_track_is_what_it_says():
    a = render_track(3, 140, 20)
    b = render_track(3, 140, 20)
    other = render_track(4, 140, 20).waveform[:, :a.waveform.shape[1]]
    assert torch.equal(a.waveform, b.waveform)
    assert not torch.equal(a.waveform, other)
    assert a.seconds >= 20
    assert len(a.beats) == 4*a.bars
    assert np.allclose(np.diff(a.beats), 60/140, atol=1e-4)
    assert (a.downbeats == a.beats[::4]).all()

def test_a_track_that_slows_down():
    "The tape stretched by 3 % from start to end: the beats follow, and an even grid wouldn't."
    track = render_track(3, 128, 40)
    t = np.arange(int(.97*track.waveform.shape[1]))/SR
    tape = t*(1.02-.02*t/t[-1])
    wave = track.waveform[0].numpy()
    x = np.interp(tape*SR, np.arange(len(wave)), wave)
    true = np.interp(track.beats[track.beats < tape[-1]], tape, t)
    b = track_beats(x, SR)
    assert not b.steady
    nearest = np.abs(b.beats[:, None]-true[1:-1]).min(0)
    assert nearest.max() < .02
    assert abs(b.bpm-60/np.diff(true).mean()) < 1

def test_the_range_of_tempi_decides_the_octave():
    x = render_track(3, 100, 20).waveform
    assert abs(track_beats(x, SR).bpm-100) < .1
    assert abs(track_beats(x, SR, tempi=(130, 220)).bpm-200) < .2

# Phasors

@pytest.mark.parametrize('n,bars', [(1, 1), (2, 1), (7, 3), (571, 4), (1024, 4), (1500, 16), (99991, 64)])
def test_phasors_are_fractions(n, bars):
    p = phasors(n, bars).numpy()
    def exact_phase(turns):
        return [float(Fraction(turns*bars*i, n) % 1) for i in range(n)]
    exact = [exact_phase(turns) for turns in (4, 1, 16)]
    np.testing.assert_array_equal(p, np.array(exact, np.float32))
    assert p.dtype == np.float32
    assert p.min() == 0
    assert p.max() < 1

def test_a_loop_twice_is_the_loop_of_twice_the_bars():
    for n, bars in ((571, 4), (100, 1), (333, 2)):
        assert torch.equal(phasors(2*n, 2*bars), phasors(n, bars).repeat(1, 2))

@pytest.mark.parametrize('shift', [0., 1e-12, -1e-12, 1e-9, -1e-9])
def test_never_one(shift):
    "Times that rounding puts on either side of a beat."
    beats = np.arange(2000)*60/126.7
    p = phasors_from_beats(beats, beats+shift, beats[::4])
    assert p.min() >= 0
    assert p.max() < 1
    assert torch.minimum(p, 1-p)[0].max() < 1e-4
    distance = torch.minimum(p[1], 1-p[1])[::4]
    assert distance.max() < 1e-4

NOT_WHOLE = [(0, 4), (-8, 4), (10.5, 4), (np.nan, 4), (100, 0), (100, -1), (100, .5)]

@pytest.mark.parametrize('n,bars', NOT_WHOLE)
def test_loops_are_whole(n, bars):
    with pytest.raises(LadmgError, match='whole number'):
        phasors(n, bars)

@pytest.mark.parametrize('beats', [[], [1.], [1., 1.], [2., 1.], [0., float('nan')]])
def test_beats_that_are_none(beats):
    with pytest.raises(LadmgError, match='two beats'):
        phasors_from_beats(beats, [0., 1.])

def test_warps_close_every_bar():
    bars = 4.*np.arange(9)
    np.testing.assert_allclose(swing(.33)(bars), bars, atol=1e-12)
    for a, b in ((120, 128), (174, 90)):
        np.testing.assert_allclose(ramp(a, b, 32)(bars[[0, -1]]), bars[[0, -1]], atol=1e-12)
    for amount in (-.1, 1, 2., float('nan')):
        with pytest.raises(LadmgError, match='Swing'):
            swing(amount)

def test_a_straight_swing_is_none_and_eighths_stay():
    torch.testing.assert_close(phasors(576, 4, swing(0.)), phasors(576, 4), atol=1e-6, rtol=0)
    eighths = np.arange(17)/2
    np.testing.assert_allclose(swing(.3)(eighths), eighths, atol=1e-12)

def test_a_ramp_doubles_its_speed():
    edges = np.array([0, 1e-4, 16-1e-4, 16])
    speed = np.diff(ramp(90, 180, 16)(edges))[[0, 2]]
    np.testing.assert_allclose(speed[1]/speed[0], 2., rtol=1e-3)

def test_a_steady_grid_is_a_loop():
    beats = np.arange(16)*60/126
    frames = np.arange(571)*16*60/126/571
    off = (phasors_from_beats(beats, frames, beats[::4])-phasors(571, 4)).abs()
    assert torch.minimum(off, 1-off).max() < 1e-6

def test_no_downbeats_no_bar():
    for downbeats in (None, []):
        assert (phasors_from_beats([0., 1.], [0., .1], downbeats)[1] == -1).all()
