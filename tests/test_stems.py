"Stems all the way: rendered, encoded, learnt, made, saved, read again; and the recipes in miniature."
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ladmg.audio import Loop
from ladmg.codec.spectral import Design, SpectralCodec
from ladmg.codec.stems import StemCodec
from ladmg.core import Cond, LadmgError
from ladmg.dataset import latents_of, open_data, prepare, synth
from ladmg.groovebox.stems import STEMS, render_with_stems
from ladmg.pipeline import LoopPipeline
from ladmg.time_stretch import time_stretch
from ladmg.training import Batches, rest_some, train
from ladmg.transition import mix
from ladmg.variation import vary

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
    for made in (time_stretch(trained, loop, 120, steps=2), vary(trained, loop, .5, steps=2)):
        assert list(made.stems) == list(STEMS)
        assert len(made.waveform) == 2
    with pytest.raises(LadmgError, match='frames by seconds'):
        mix(trained, [loop], 126)

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
