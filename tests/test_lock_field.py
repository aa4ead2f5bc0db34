"What the pipeline made before its second edition, it makes still: latents, and loops of every kind."
from pathlib import Path

import numpy as np
import pytest
import torch

from ladmg.groovebox.machine import render_loop
from ladmg.interpolation import morph
from ladmg.pipeline import LoopPipeline
from ladmg.sequencer import sequence
from ladmg.time_stretch import time_stretch
from ladmg.transition import mix
from ladmg.variation import between, inpaint, vary

LOCK = np.load(Path(__file__).parent/'lock_field.npz')
FOUR = 'x...x...x...x...'
CALLS = dict(
    plain=dict(bpm=126, seed=0, n=2, steps=6),
    prompt=dict(prompt='dark dub techno with long chords', bpm=118, bars=2, seed=3, steps=8),
    negative=dict(prompt='hard bright techno with rides', negative_prompt='hats', bpm=140, seed=1, steps=6),
    key_curves=dict(bpm=97.3, seed=2, steps=6, key='A minor', descriptors={'centroid': [.2, .8], 'low': .7}),
    pattern=dict(bpm=130, bars=2, seed=4, steps=6, pattern={'kick': FOUR, 'hat': '..x...x...x...xx', 'swing': .3}),
    sound=dict(prompt='acid', audio=render_loop(5, 126, bars=1), bpm=126, seed=5, steps=6),
    number=dict(prompt='minimal house', bpm=122, seed=6, steps=4, guidance_scale=2., solver='heun'),
    every=dict(prompt='deep techno', negative_prompt='acid', bpm=170, seed=7, steps=5, key='C major',
               descriptors={'loudness': .9}, pattern={'clap': '....x.......x...'},
               guidance_scale={'rhythm': 1.5, 'embedding': 4., 'pattern': 3.}, solver='midpoint'))

@pytest.fixture(scope='module')
def pipe():
    return LoopPipeline.from_pretrained(dtype=torch.float32, device='cpu')

def difference(found, name): # relative, of what the lock keeps
    kept = LOCK[name].astype(np.float64)
    return np.linalg.norm(found.ravel()[:kept.size]-kept.ravel())/np.linalg.norm(kept)

@pytest.mark.parametrize('name', CALLS)
def test_latents_are_those_of_the_first_edition(pipe, name):
    last = []
    def keep(step, total, x):
        if step == total:
            last.append(x.clone())
    pipe(callback=keep, **dict(bars=1) | CALLS[name])
    assert difference(torch.cat(last).numpy(), f'latents_{name}') < .01

def made(pipe): # name → a function that makes loops
    sound = render_loop(5, 126, bars=1)
    a = render_loop(9017, 126, bars=1)
    b = render_loop(9018, 130, bars=1)
    two = render_loop(9017, 126, bars=2)
    dub = 'deep dub techno'
    moving = {'rhythm': 1.3, 'embedding': torch.linspace(1, 4, 568)}
    pattern = {'kick': 'x..x..x...x.x...', 'swing': .2}
    return dict(
        morph=lambda: morph(pipe, dub, sound, 3, bpm=130, bars=1, seed=1, steps=4),
        time_stretch=lambda: [time_stretch(pipe, a, 97, steps=4)],
        time_stretch_guided=lambda: [time_stretch(pipe, a, 145, guidance_scale=2., steps=4)],
        mix=lambda: [mix(pipe, [dub, sound], [126, 132], 2, glide=1, seed=3, steps=3, window=160)],
        mix_frames=lambda: [mix(pipe, [dub], 126, 4, seed=3, steps=3, window=192, guidance_scale=moving)],
        mix_whole=lambda: [mix(pipe, ['acid'], 126, 2, seed=3, steps=3)],
        sequence=lambda: [sequence(pipe, pattern, 126, 1, 2, 'techno', steps=4, pattern_scale=6.)],
        vary=lambda: [vary(pipe, a, .5, steps=4)],
        vary_prompt=lambda: [vary(pipe, a, .8, 1, 'acid techno', steps=4)],
        repaint=lambda: [inpaint(pipe, two, [2], 3, 'toms', steps=4)],
        repaint_bare=lambda: [inpaint(pipe, two, 1, steps=4)],
        between=lambda: between(pipe, a, b, 3, steps=3))

WAYS = ('morph', 'time_stretch', 'time_stretch_guided', 'mix', 'mix_frames', 'mix_whole', 'sequence',
        'vary', 'vary_prompt', 'repaint', 'repaint_bare', 'between')

@pytest.mark.slow
@pytest.mark.parametrize('name', WAYS)
def test_waves_are_those_of_the_first_edition(pipe, name):
    loops = made(pipe)[name]()
    wave = torch.cat([loop.waveform for loop in loops], 1).numpy()
    assert difference(wave[:, ::8], f'wave_{name}') < .01
