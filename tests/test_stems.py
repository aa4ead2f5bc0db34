"Stems all the way: rendered, encoded, learnt, made, saved, read again; and the recipes in miniature."
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ladmg.accompaniment import accompany
from ladmg.audio import Loop, is_silent, loop_samples, toy_loop
from ladmg.codec import spectral
from ladmg.codec.encodec import Encodec
from ladmg.codec.network import build_encodec
from ladmg.codec.spectral import Design, SpectralCodec
from ladmg.codec.stems import StemCodec
from ladmg.core import Cond, LadmgError
from ladmg.dataset import latents_of, open_data, prepare, synth
from ladmg.groovebox.stems import STEMS, render_with_stems
from ladmg.pipeline import LoopPipeline
from ladmg.time_stretch import time_stretch
from ladmg.training import Batches, rest_some, train
from ladmg.transition import TempoMap, mix
from ladmg.unet import UNet
from ladmg.variation import between, inpaint, vary

ROOT = Path(__file__).resolve().parent.parent

def small_loop(seed): # one bar, with stems
    return render_with_stems(seed, 140, 1, 48_000, channels=2)

@pytest.fixture(scope='module')
def codec(): # a few components of two loops
    designs = {'drums': Design(block=10, border=1000., n_lows=8, bands=24, n_bands=8, n_sides=2),
               'bass': Design(block=10, border=3500., n_lows=8, n_bands=2),
               'synth': Design(block=10, border=3500., n_lows=8, n_bands=2, n_sides=2)}
    made = StemCodec({name: SpectralCodec(design) for name, design in designs.items()})
    for seed in range(2):
        for name, wave in small_loop(seed).stems.items():
            made.codecs[name].add(wave[None], 32)
    for one in made.codecs.values():
        one.solve()
    return made

@pytest.fixture(scope='module')
def folder(codec, tmp_path_factory):
    home = tmp_path_factory.mktemp('stems')
    codec.save(home/'codec')
    return home

@pytest.fixture(scope='module')
def trained(folder, in_threads): # a pipeline that has seen four loops for two steps
    synth(folder/'music', 4, bpm=140, bars=1, workers=1, stems=True)
    about = prepare(folder/'music', folder/'data', folder/'codec', workers=1)
    assert about['skipped'] == {}
    assert about['loops'] == 4
    for _ in train(folder/'data', folder/'run', steps=2, frames=64, net=dict(widths=(8, 8, 8, 8))):
        pass
    return LoopPipeline.from_pretrained(folder/'run', folder/'codec')

def test_a_data_set_of_stems(trained, folder, codec):
    data, about = open_data(folder/'data')
    row = data.with_format('numpy')[0]
    assert latents_of(row).shape == (codec.channels, 32)
    assert about['latents']['stems'] == list(STEMS)
    assert json.loads(row['plays'])['drums'] in (True, False)

def test_what_rests_is_silent(trained, folder, codec):
    data, about = open_data(folder/'data')
    latents = about['latents']
    x, cond = Batches(data, frames=64*32, latents=latents)(0)
    told = cond.stems.abs().sum(1) > 0
    assert told.any()
    parts = x.split(codec.sizes, 1)
    silence = codec.silence.split(codec.sizes)
    for i in told.nonzero()[:, 0].tolist():
        for g, part in enumerate(parts):
            distance = (part[i]-silence[g][:, None]).abs().max()
            if cond.stems[i, g] < 0:
                assert distance < .05
            else:
                assert distance > .05

def test_resting_makes_the_rest_unknown(codec):
    latents = codec.facts
    x = torch.randn(50, codec.channels, 32)
    cond = Cond(embedding=torch.ones(50, 4), descriptors=torch.ones(50, 2, 32),
                pattern=torch.ones(50, 4, 32), stems=torch.ones(50, 3))
    rest_some(x, cond, latents, np.random.default_rng(0))
    rests = (cond.stems < 0).any(1)
    assert 2 < rests.sum() < 25
    assert (cond.embedding[rests] == 0).all() and (cond.embedding[~rests] == 1).all()
    assert (cond.descriptors[rests] == -1).all()
    drums = cond.stems[:, 0] < 0
    assert (cond.pattern[drums][:, :3] == 0).all()
    assert (cond.stems[rests] > 0).any(1).all() # never all of them

def test_a_loop_is_its_stems(trained, tmp_path):
    loop, = trained(bpm=140, bars=1, steps=2, stems=('drums', 'bass'))
    assert list(loop.stems) == list(STEMS)
    assert (sum(loop.stems.values())-loop.waveform).abs().max() < 1e-5
    assert loop.recipe['stems'] == ('drums', 'bass')
    loop.save(tmp_path/'loop.wav', stems=True)
    again = Loop.load(tmp_path/'loop.wav')
    missing = sum(again.stems.values())-again.waveform
    assert missing.abs().max() < 1e-5
    with pytest.raises(LadmgError, match="no stem 'violin'"):
        trained(bpm=140, bars=1, steps=1, stems=('violin',))

def test_one_seed_is_one_loop_alone_and_in_a_batch(trained):
    alone, = trained(bpm=140, bars=1, steps=2, seed=1)
    _, second = trained(bpm=140, bars=1, steps=2, seed=0, n=2)
    torch.testing.assert_close(alone.waveform, second.waveform, atol=1e-3, rtol=1e-3)

def test_applications_carry_stems(trained):
    loop = small_loop(0)
    takes = vary(trained, loop, .5, steps=1), inpaint(trained, loop, 1, steps=1)
    for made in (time_stretch(trained, loop, 120, steps=1), *takes):
        assert list(made.stems) == list(STEMS)
        assert len(made.waveform) == 2

# Pieces

def clicks(bpm, bars): # a burst of noise on each beat
    n = loop_samples(bpm, bars, 48_000)
    wave = torch.zeros(2, n)
    burst = torch.randn(2, 480, generator=torch.Generator().manual_seed(0))
    for beat in range(4*bars):
        at = round(beat*n/bars/4)
        wave[:, at:at+480] = burst
    return Loop(wave, 48_000, bpm, bars, stems={'drums': wave})

def test_a_steady_piece_is_a_loop(codec, monkeypatch):
    monkeypatch.setattr(spectral, 'LONG', 250) # three pieces
    z = torch.cat([codec.encode_loop(small_loop(seed)) for seed in range(2)], 1)[None]
    [loop] = codec.decode_loops(z, 133.7, 2)
    piece = codec.decode_piece(z, TempoMap([133.7], 2, 0))
    for name in STEMS:
        torch.testing.assert_close(piece.stems[name], loop.stems[name], atol=1e-3, rtol=0)

def test_beats_of_a_piece_are_where_its_map_says(codec):
    tempo_map = TempoMap([120, 150], 4, 2)
    loop = clicks(140, 1)
    piece = codec.decode_piece(codec.encode_loop(loop).repeat(1, 8)[None], tempo_map)
    assert piece.waveform.shape == (2, round(tempo_map.seconds*48_000))
    level = piece.waveform.square().sum(0)
    padded = torch.nn.functional.pad(level, (4800, 4800), mode='constant')
    for beat in tempo_map.beats[1:]:
        here = padded[round(beat*48_000):][:9600] # 100 ms on each side
        middle = (here*torch.arange(9600)).sum()/here.sum()-4800
        assert abs(middle-240) < 240 # samples: within 5 ms of the burst

class OneWord: # a CLAP that hears no difference
    name = 'one word'

    def embed_text(self, prompt):
        return torch.nn.functional.normalize(torch.ones(1, 4))

def test_a_mix_has_stems(codec):
    net = UNet(codec.channels, (8, 8, 8, 8), rhythm=4, embedding=4, stems=3).eval()
    pipe = LoopPipeline(net, codec, clap=OneWord())
    mixed = mix(pipe, ['dub', 'acid'], [120, 150], 2, glide=1, steps=1)
    tempo_map = TempoMap([120, 150], 2, 1)
    assert mixed.waveform.shape == (2, round(tempo_map.seconds*48_000))
    np.testing.assert_array_equal(mixed.beats, tempo_map.beats)
    assert list(mixed.stems) == list(STEMS)
    assert (sum(mixed.stems.values())-mixed.waveform).abs().max() < 1e-5

# Stems that stay

def gain_between(a, b): # (C, S) each → (C, S) where b sounds
    heard = b.abs() > .01
    return a[heard]/b[heard]

def is_kept(made, loop, name): # by the gain of the mastering, which is never above 1 here
    gain = gain_between(made.stems[name], loop.stems[name])
    return gain.max() < 1.001 and gain.median() > .7 and (made.stems[name] != 0).any()

def test_new_takes_of_a_stem_leave_the_others(trained):
    loop = small_loop(0)
    takes = [vary(trained, loop, 1, seed, stems=('drums',), steps=1) for seed in range(2)]
    for made in takes:
        assert is_kept(made, loop, 'bass') or is_silent(loop.stems['bass'])
        assert is_kept(made, loop, 'synth') or is_silent(loop.stems['synth'])
    assert (takes[0].stems['drums']-takes[1].stems['drums']).abs().max() > .01
    with pytest.raises(LadmgError, match="no stem 'violin'"):
        vary(trained, loop, stems=('violin',))

def test_bars_of_a_stem_are_played_anew(trained):
    loop = render_with_stems(0, 140, 2, 48_000, channels=2)
    known = trained.codec.decode_loops(trained.encode(loop)[None], 140, 2)[0]
    made = inpaint(trained, loop, 2, stems=('drums',), steps=1)
    assert is_kept(made, loop, 'synth')
    drums = trained.rows_of_stems(['drums'])[:, 0]
    change = (trained.encode(made)-trained.encode(known))[drums].square().sum(0)
    first, second = change[4:28].mean(), change[36:60].mean() # the middle of each bar
    assert first < .3*second

def test_what_lies_between_has_stems(trained):
    for made in between(trained, small_loop(0), small_loop(1), 2, steps=1):
        assert list(made.stems) == list(STEMS)
        assert (sum(made.stems.values())-made.waveform).abs().max() < 1e-5

def test_accompaniment(trained):
    loop = small_loop(0)
    beat = Loop(.2*loop.stems['drums'][:1], 48_000, 140, 1) # mono and quiet
    first, second = accompany(trained, drums=beat, n=2, steps=1, loudness=None)
    for made in (first, second):
        assert torch.equal(made.stems['drums'], beat.waveform.expand(2, -1))
        assert (sum(made.stems.values())-made.waveform).abs().max() < 1e-5
        assert not is_silent(made.stems['bass'])
    assert (first.stems['bass']-second.stems['bass']).abs().max() > 1e-4
    assert first.recipe['accompanied'] == ['drums']
    [alone] = accompany(trained, drums=beat, seed=1, steps=1, loudness=None)
    torch.testing.assert_close(alone.waveform, second.waveform, atol=1e-3, rtol=1e-3)

def test_some_stems_are_made_and_the_rest_rests(trained):
    loop = small_loop(0)
    drums = {'drums': loop.stems['drums']}
    [made] = accompany(trained, replace(loop, stems=drums), stems=('bass',), steps=1, loudness=None)
    assert (made.stems['synth'] == 0).all()
    again, = accompany(trained, loop, stems=('drums',), steps=1)
    assert again.recipe['stems'] == ['drums']

@pytest.mark.parametrize('given, what', [
    ({}, 'nothing to accompany'),
    ({'violin': 1}, 'no stem'),
    ({'drums': 0}, 'silent'),
    ({'drums': 1, 'bass': 2}, 'one tempo'),
    ({'drums': 1, 'bass': 1, 'synth': 1}, 'All stems')])
def test_what_cannot_be_accompanied(trained, given, what):
    tone = torch.sin(torch.arange(96_000)*.02)[None]
    loops = {name: Loop(bool(level)*tone/4, 48_000, 120*max(level, 1), max(level, 1)) for name, level in given.items()}
    with pytest.raises(LadmgError, match=what):
        accompany(trained, **loops)

def test_without_stems_there_is_no_accompaniment():
    codec = Encodec(build_encodec(n_filters=2, dimension=4, lstm=0))
    pipe = LoopPipeline(UNet(codec.channels, (8, 8)).eval(), codec)
    with pytest.raises(LadmgError, match='in one piece'):
        accompany(pipe, drums=toy_loop())

def run_recipe(name, *arguments):
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, ROOT/'recipes'/name, *arguments, '--tiny']
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]

@pytest.mark.slow
def test_recipes_in_miniature(tmp_path):
    run_recipe('codec.py', '--out', tmp_path/'stems')
    scores = json.loads((tmp_path/'stems'/'scores.json').read_text())
    assert scores['original']['lines'] == 1
    assert scores['spectral']['chroma'] > scores['random latents']['chroma']
    run_recipe('unet.py', '--codec', tmp_path/'stems'/'codec', '--out', tmp_path/'unet')
    found = json.loads((tmp_path/'unet'/'scores.json').read_text())
    assert set(found) == {'original', 'codec', 'random latents', 'generated'}
    assert found['codec']['all'] > found['random latents']['all']
