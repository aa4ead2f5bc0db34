"""The lock: every sample of the groovebox is what the first edition made; labels and captions are what they were.

The hashes of samples in lock.json were recorded from it, those of labels and captions when the captions were written
anew. They hold bit for bit on one kind of processor and version of NumPy; the lock goes when the groovebox changes on
purpose.
"""
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ladmg.groovebox.captions import captions
from ladmg.groovebox.machine import render_loop
from ladmg.groovebox.stems import render_voices

LOCK = Path(__file__).with_name('lock.json')
VOICES = ('kick clap snare rim hat open_hat ride shaker tom conga bass stab pad drone bleep sweep').split()
STYLES = 'dub_techno acid minimal_house deep_house hard_techno electro micro_house'.split()
TEMPI = (None, 80, 97.3, 126, 133.33, 180)
BARS = (4, 2, 1, 3, 2, 8, 1, 2)
RATES = (24000, 24000, 24000, 44100, 24000, 16000, 48000)
BLOCK = 300 # loops whose captions share a hash

def lock():
    return json.loads(LOCK.read_text())

def loop_arguments(i):
    "Arguments of one of the hundred loops."
    style = None if i % 10 == 9 else STYLES[i % 7]
    return {'seed': i,
            'bpm': TEMPI[i % len(TEMPI)],
            'bars': BARS[i % len(BARS)],
            'sample_rate': RATES[(i//3) % len(RATES)],
            'style': style}

def sha(content):
    return hashlib.sha256(content).hexdigest()

def hash_waveform(loop):
    return sha(np.ascontiguousarray(loop.waveform.numpy(), np.float32).tobytes())

def hash_labels(loop):
    "All that is said about a loop."
    onsets = {voice: times.tolist() for voice, times in loop.onsets.items()}
    labels = [loop.bpm, loop.bars, loop.key, loop.captions, loop.recipe['seed'], loop.recipe['style']]
    return sha(json.dumps([*labels, onsets, loop.tags], sort_keys=True).encode())

def hash_loop(i):
    loop = render_loop(**loop_arguments(i))
    return {'waveform': hash_waveform(loop), 'labels': hash_labels(loop)}

def hash_stems(i):
    "Hashes by voice, in the order of the voices."
    stems = render_voices(**loop_arguments(7*i+3))
    return {voice: hash_waveform(stem) for voice, stem in stems.items()}

def one_of(rng, names):
    "One of several tags is true, or none."
    chosen = rng.choice([*names, 'none'])
    return {name: bool(name == chosen) for name in names}

def made_up_tags(seed):
    rng = np.random.default_rng(seed)
    tags = {voice: bool(rng.random() < .6) for voice in VOICES}
    beat = one_of(rng, ['four_on_the_floor', 'broken'])
    tags |= {name: yes and tags['kick'] for name, yes in beat.items()}
    bass = one_of(rng, ['rolling_bass', 'sub_bass', 'acid_bass'])
    tags |= {name: yes and tags['bass'] for name, yes in bass.items()}
    for names in (STYLES, ['swung', 'straight'], ['dark', 'bright'], ['dry', 'spacious'], ['sparse', 'dense']):
        tags |= one_of(rng, names)
    rest = ['ducked', 'distorted', 'offbeat_hats', 'dub_delay', 'polymeter', 'fill']
    return tags | {name: bool(rng.random() < .4) for name in rest}

def captions_of(seed):
    "Captions of a loop that is not rendered, and their claims."
    rng = np.random.default_rng(seed)
    key = str(rng.choice(['', 'A minor', 'C# major']))
    bpm = rng.uniform(80, 180)
    made = captions(made_up_tags(seed), bpm, key, seed, held_out=seed % 3 == 2)
    return [[text, sorted(claims.items())] for text, claims in made]

def hash_captions(block):
    seeds = range(block*BLOCK, (block+1)*BLOCK)
    made = [captions_of(seed) for seed in seeds]
    return sha(json.dumps(made).encode())

def few(total, quick):
    "The first cases always run, the others with --slow."
    rest = range(quick, total)
    return [*range(quick), *(pytest.param(i, marks=pytest.mark.slow) for i in rest)]

@pytest.mark.parametrize('i', few(100, 12))
def test_loop_is_unchanged(i):
    assert hash_loop(i) == lock()['loops'][i]

@pytest.mark.parametrize('block', few(10, 1))
def test_captions_are_unchanged(block):
    assert hash_captions(block) == lock()['captions'][block]

@pytest.mark.parametrize('i', few(10, 1))
def test_stems_are_unchanged(i):
    made, recorded = hash_stems(i), lock()['stems'][i]
    assert made == recorded
    assert list(made) == list(recorded)
