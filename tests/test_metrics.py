"Metrics: bad input, silence, what a score may depend on, and values known from elsewhere."
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch

from ladmg.audio import Loop
from ladmg.codec.scores import gaps
from ladmg.core import LadmgError
from ladmg.groovebox.machine import render_loop
from ladmg.metrics.distances import FAD, KAD, BandStats, ClapScore, Copying, FADInfinity
from ladmg.metrics.distances import default_embedding, embed, frechet
from ladmg.metrics.scores import AttributeAccuracy, BeatScore, Gaps, JoinScore, PatternScore, Reconstruction, TempoScore
from ladmg.metrics.scores import join_ranks, unroll

SR = 24_000

@pytest.fixture(scope='module')
def loops():
    return [render_loop(seed, bars=2) for seed in range(9000, 9004)]

def computed(metric, *args):
    metric.update(*args)
    return metric.compute()

# Points

def test_loops_of_any_length_and_rate_are_points(loops):
    short = Loop(loops[0].waveform[:, :48_000], SR)
    stereo = Loop(torch.randn(2, 88_200)*.1, 44_100)
    assert embed(default_embedding(), [loops[0], short, stereo]).shape == (3, 48)
    with pytest.raises(LadmgError, match='at least one loop'):
        embed(default_embedding(), [])

@pytest.mark.slow
def test_the_default_embedding_is_that_of_its_corpus():
    corpus = BandStats.fit([render_loop(seed, bars=2) for seed in range(10_000, 10_064)])
    np.testing.assert_allclose(default_embedding().mean, corpus.mean, atol=1e-4)
    np.testing.assert_allclose(default_embedding().std, corpus.std, atol=1e-4)
    assert default_embedding().name == 'bands-5390b7fc'

# Two sets

def test_frechet_is_that_of_the_matrix_root():
    x, y = (torch.from_numpy(np.random.default_rng(seed).standard_normal((60, 16))) for seed in (1, 2))
    cov_x, cov_y = x.T.cov(), y.T.cov()
    root = scipy.linalg.sqrtm((cov_x @ cov_y).numpy()).real
    expected = (x.mean(0)-y.mean(0)).square().sum()+torch.trace(cov_x+cov_y)-2*np.trace(root)
    torch.testing.assert_close(frechet(x, y), expected, atol=1e-8, rtol=0)
    assert abs(frechet(x, x)) < 1e-8

def test_a_set_has_no_distance_from_itself(loops):
    for metric in (FAD(), KAD()):
        metric.update(loops, real=True)
        metric.update(loops[:2])
        metric.update(loops[2:])
        value = metric.compute()
        assert value['KAD'] <= 0 if isinstance(value, dict) else abs(value) < 1e-6

@pytest.mark.parametrize('metric', [FAD, FADInfinity, KAD])
def test_two_sets_are_needed(metric, loops):
    one = metric()
    one.update(loops)
    with pytest.raises(LadmgError, match='Two sets'):
        one.compute()

def test_a_kernel_needs_pairs(loops):
    metric = KAD()
    metric.update(loops[:1], real=True)
    metric.update(loops)
    with pytest.raises(LadmgError, match='at least two loops'):
        metric.compute()

def test_copies_have_three_kinds(loops):
    with pytest.raises(LadmgError, match='training'):
        Copying().update(loops, 'other')

# One loop after the other

def test_a_tempo_does_not_depend_on_what_was_asked_for(loops):
    right, wrong = TempoScore(), TempoScore()
    right.update(loops)
    wrong.update([replace(l, bpm=61., beats=None, downbeats=None) for l in loops])
    assert torch.equal(right.measured[0], wrong.measured[0])
    assert wrong.compute()['within_1'] < .5

def test_silence_has_neither_tempo_nor_beats(loops):
    silent = [replace(l, waveform=torch.zeros_like(l.waveform)) for l in loops[:2]]
    assert computed(TempoScore(), silent)['within_1'] == 0
    assert computed(BeatScore(), silent)['f70'] == 0

def test_a_circle_is_cut_in_its_widest_gap():
    requested, found = unroll([0, 1, 2, 3], [3.99, .98, 2.01], 4.)
    np.testing.assert_allclose(requested, [.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(found, [.48, 1.51, 3.49])
    requested, found = unroll([], [.5], 1.)
    assert len(requested) == 0 and found.tolist() == [.5]

def clicks():
    wave = torch.zeros(1, 48_000)
    wave[0, ::6000] = .9
    return Loop(wave, SR, 120, 1)

def test_clicks_are_where_they_are():
    assert computed(PatternScore(), [clicks()], [{'hat': np.arange(8)/4}])['high f'] == 1
    assert computed(PatternScore(), [clicks()], [{'pad': np.arange(8)/4}]) == {} # a pad is in no row

def test_gaps_are_the_mean_of_the_codecs(loops):
    expected = np.mean([gaps(l.waveform, SR) for l in loops], 0)
    np.testing.assert_allclose(computed(Gaps(), loops), expected, rtol=1e-5)

def test_a_reconstruction_has_the_shape_of_its_original(loops):
    with pytest.raises(LadmgError, match='other lengths'):
        Reconstruction().update(loops[:1], [replace(loops[0], sample_rate=8000)])

def test_each_loop_has_its_prompt(loops):
    with pytest.raises(LadmgError, match='its prompt'):
        ClapScore(None).update(loops, ['dull'])

class Blank:
    "A judge that finds nothing."
    reliable = ['kick', 'pad']

    def __call__(self, loops):
        return {tag: np.zeros(len(loops), bool) for tag in self.reliable}

def test_only_what_a_prompt_names_is_judged(loops):
    claims = [{'kick': True, 'hat': True}, {'kick': False}, {'kick': False}, {}]
    accuracy = computed(AttributeAccuracy(Blank()), loops, claims)
    assert accuracy == {'mean': .5, 'kick': .5} # asserted and denied weigh the same
    nothing = computed(AttributeAccuracy(Blank()), loops, [{}]*4)
    assert np.isnan(nothing['mean'])

def test_a_join_needs_another_bar_line():
    with pytest.raises(LadmgError, match='two bars'):
        join_ranks(clicks())

def test_loops_of_equal_bars_have_a_join_like_any():
    loop = replace(clicks(), waveform=clicks().waveform.repeat(1, 4), bars=4, beats=None, downbeats=None)
    assert join_ranks(loop).tolist() == [[.5]*5]
    metric = JoinScore()
    metric.update([loop]*2, real=True)
    metric.update([loop]*2)
    assert metric.compute()['worst'] == 0
