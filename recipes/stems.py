"What the recipes of the spectral codec share: loops of three stems in stereo, and a distance between sets of loops."
import torch

from ladmg.audio import Loop
from ladmg.groovebox.stems import render_stems
from ladmg.metrics.distances import KAD

SAMPLE_RATE = 48000 # Hz
BARS = 2
FRAMES = 32*BARS # of latents, at any tempo
FIRST = 10_000 # seeds of loops to train on start here
HELD_OUT = 9_000 # and those of held-out loops here

def stems_of(seed:int) -> dict: # stem → (1, 2, S)
    "Render two bars in stereo."
    stems = render_stems(seed, bars=BARS, sample_rate=SAMPLE_RATE, channels=2)
    return {name: loop.waveform[None] for name, loop in stems.items()}

def mixed(stems:dict) -> torch.Tensor: # stem → (1, channels, S) to (2, S)
    return sum(stems.values())[0]

def kad(embedding, music:list, judged:list) -> float: # lists of (channels, S)
    "Measure the distance of two sets in an embedding."
    metric = KAD(embedding)
    metric.update([Loop(w, SAMPLE_RATE) for w in music], real=True)
    metric.update([Loop(w, SAMPLE_RATE) for w in judged])
    return float(metric.compute()['KAD'])
