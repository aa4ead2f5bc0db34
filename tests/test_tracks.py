"Features of loops, and loops out of tracks: stereo, silence, noise, and circles."
import numpy as np
import pytest
import torch

from ladmg.audio import Loop, join_step, loop_samples
from ladmg.core import LadmgError
from ladmg.features import DESCRIPTORS, KEYS, NOTES, describe, find_key, key_vector, pattern_channels
from ladmg.groovebox.machine import render_loop
from ladmg.tracks import choose_loops, cut_loops, loop_scores

# Tracks

def test_a_stereo_track_at_another_rate_becomes_loops_of_whole_bars():
    loop = render_loop(3, 124, sample_rate=44100)
    loops = list(cut_loops(Loop(loop.waveform.repeat(2, 4), 44100)))
    assert len(loops) >= 2
    for l in loops:
        assert abs(l.bpm-124) < .5
        assert l.waveform.shape[0] == 2
        assert l.bars == 4
        assert len(l.beats) == 16
        assert abs(l.waveform.shape[1]-loop_samples(124, 4, 44100)) < 100
        assert join_step(l.waveform) < 1

def noise(samples):
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(0))

NO_TRACKS = {
    'silence': (torch.zeros(1, 480_000), 'silent'),
    'short': (torch.full((1, 24_000), .1), 'too short'),
    'noise': (noise(480_000), 'beat'),
}

@pytest.mark.parametrize('wave,says', NO_TRACKS.values(), ids=NO_TRACKS)
def test_silence_and_noise_are_no_tracks(wave, says):
    with pytest.raises(LadmgError, match=says):
        list(cut_loops(Loop(wave, 24000)))

@pytest.mark.parametrize('bars', [0, 2.5, (4, 0)])
def test_bars_are_whole(bars):
    with pytest.raises(LadmgError, match='whole number of bars'):
        list(cut_loops(Loop(np.ones(24000), 24000), bars))

def scores(**at): # b4=.9: .9 from beat 4 on
    return np.array([at.get(f'b{i}', -np.inf) for i in range(20)])

def test_chosen_loops_are_the_best_that_do_not_overlap():
    anywhere = np.ones(20, bool)
    two_lengths = {1: scores(b0=.9, b4=.9, b8=.9), 2: scores(b0=.6, b4=.95)}
    assert choose_loops(two_lengths, anywhere) == [(0, 1), (4, 2)]
    assert choose_loops({1: scores(b0=.9, b2=.95)}, anywhere) == [(2, 1)]
    assert choose_loops({1: scores(b0=.1)}, anywhere) == []
    assert choose_loops({1: scores(b0=.9, b1=.95)}, np.arange(20) % 4 == 0) == [(0, 1)]

def test_what_repeats_scores_best():
    bar = np.random.default_rng(0).standard_normal((5, 32))
    levels = np.tile(bar, (1, 6))
    two = loop_scores(levels, 2)
    one = loop_scores(levels, 1)
    fits = np.isfinite(two)
    assert np.allclose(two[fits], 1)
    assert one[np.isfinite(one)].max() < .5
    assert fits.sum() == (192-32-4)//4+1
    assert (loop_scores(levels[:, :30], 2) == -np.inf).all()

# Features

def test_descriptors_go_round():
    loop = render_loop(5, 120)
    n = loop.waveform.shape[1]
    curves = np.roll(describe(loop, 600), 300, 1)
    turned = describe(Loop(loop.waveform.roll(n//2, 1), 24000, 120, 4), 600)
    assert np.abs(curves[:2]-turned[:2]).max() < .01
    assert np.abs(curves-turned).mean() < .03
    silence = describe(Loop(torch.zeros(1, 48000), 24000, 120, 1), 100)
    assert silence.shape == (len(DESCRIPTORS), 100)
    assert (silence == 0).all()

def test_the_key_follows_the_pitch():
    "Played faster by two semitones, the key is two semitones higher."
    candidates = map(render_loop, range(300, 320))
    loop = next(l for l in candidates if find_key(l.waveform, 24000))
    note, mode = find_key(loop.waveform, 24000).split()
    higher, same_mode = find_key(loop.waveform, round(24000*2**(2/12))).split()
    assert (NOTES.index(higher)-NOTES.index(note)) % 12 == 2
    assert mode == same_mode
    assert find_key(noise(240_000), 24000) == ''

def test_keys_are_vectors():
    assert len(set(KEYS)) == 24
    assert all(KEYS[key_vector(key).argmax()] == key for key in KEYS)
    assert key_vector('').sum() == 0
    with pytest.raises(LadmgError, match='no key'):
        key_vector('H dur')

def test_a_pattern_goes_round_and_knows_what_it_does_not_know():
    loop = render_loop(6, 124)
    pattern = pattern_channels(loop.onsets, loop.seconds, 580)
    later = {v: (t+loop.seconds/4) % loop.seconds for v, t in loop.onsets.items()}
    np.testing.assert_allclose(pattern_channels(later, loop.seconds, 580), np.roll(pattern, 145, 1), atol=1e-3)
    unknown = pattern_channels({'kick': [0.], 'snare': None, 'clap': [.5]}, 1., 10)
    assert unknown[0].max() == 1
    assert (unknown[1] == -1).all()
    assert (unknown[2:] == 0).all()
