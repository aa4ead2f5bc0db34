"""Train a small U-Net on the latents of the spectral codec, and measure how many lasting lines its loops have.

    python recipes/codec.spectral.py --set block=10 --out runs/spectral      # first the codec, once
    python recipes/unet.spectral.py --codec runs/spectral/codec --out runs/small      # 2,000 steps
    python recipes/unet.spectral.py --codec runs/spectral/codec --out /tmp/small --tiny
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch

from ladmg import pitch
from ladmg.blending import blending_loss
from ladmg.codec.spectral import SpectralCodec
from ladmg.core import Cond
from ladmg.fit import fit
from ladmg.groovebox.machine import render_loop
from ladmg.noise import circle_noise
from ladmg.rhythm.phasors import phasors
from ladmg.solvers import integrate
from ladmg.unet import UNet

SAMPLE_RATE = 48000 # Hz
BARS = 2
PER_BAR = 32 # latent frames in a bar at any tempo
HELD_OUT = 10_000 # seeds of held-out loops start here

def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--codec', type=Path, required=True, help='folder of a fitted codec')
    parser.add_argument('--out', type=Path, default=Path('runs/small'))
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--loops', type=int, default=800)
    parser.add_argument('--held-out', type=int, default=32)
    parser.add_argument('--batch', type=int, default=12)
    parser.add_argument('--taper', type=float, default=.5, help='0 whitens; above, latents keep more of their spread')
    parser.add_argument('--tiny', action='store_true', help='a miniature for tests')
    return parser.parse_args()

def gain_of(codec, taper:float) -> torch.Tensor: # (C, 1)
    "Bring latents to a scale for diffusion, of mean power 1 in each group."
    parts = []
    for group in codec.groups:
        relative = (group.std/group.std[0])**taper
        parts.append(relative/relative.square().mean().sqrt()/group.std)
    return torch.cat(parts)[:, None]

def latents_of(codec, gain, seeds) -> torch.Tensor: # (N, C, T)
    "Render and encode loops, all in the same number of frames."
    found = []
    for seed in seeds:
        wave = render_loop(seed, bars=BARS, sample_rate=SAMPLE_RATE).waveform
        z = codec.encode(wave[None], circular=True, n_latents=PER_BAR*BARS)
        found.append(gain*z[0])
    return torch.stack(found)

class LoopBatches:
    "Draw loops, each turned at random together with its phasors."
    def __init__(self, latents, size:int):
        self.latents = latents
        self.size = size
        self.beats = phasors(latents.shape[2], BARS)

    def __call__(self, step:int, rank:int, world:int) -> tuple: # (B, C, T), Cond
        rng = np.random.default_rng((step, rank))
        chosen = rng.integers(len(self.latents), size=self.size)
        turns = rng.integers(self.latents.shape[2], size=self.size)
        x = [self.latents[i].roll(-int(turn), 1) for i, turn in zip(chosen, turns)]
        beats = [self.beats.roll(-int(turn), 1) for turn in turns]
        return torch.stack(x), Cond(rhythm=torch.stack(beats))

def loss(model, batch) -> dict:
    x1, cond = batch
    losses, _ = blending_loss(model, x1, cond.drop({'rhythm': .15}))
    return {'loss': losses.mean()}

def train(model, latents, args) -> torch.nn.Module: # the averaged weights
    "Train; a run that was stopped goes on."
    settings = dict(lr=1.5e-3, warmup=100, decay=.5, ema=.995, device='cpu')
    batches = LoopBatches(latents, args.batch)
    for state in fit(model, loss, batches, args.out/'run', steps=args.steps, log_every=100, **settings):
        print(state.step, f'{state.seconds:.0f} s, loss {state.loss:.4f}', flush=True)
    return state.ema

@torch.no_grad()
def made_latents(field, seed:int, channels:int) -> torch.Tensor: # (C, T)
    "Make one loop from noise and beat alone."
    length = PER_BAR*BARS
    cond = Cond(rhythm=phasors(length, BARS)[None])
    noise = circle_noise(seed, channels, length)[None]
    return integrate(field, noise, cond, 16)[0].float()

def table(codec, gain, field, n:int) -> dict: # name → share of lines, by that of held-out loops
    "Measure held-out loops, the codec, random latents and generated loops."
    spread = gain*codec.stats['std'][:, None]
    shares = {name: [] for name in ('original', 'codec', 'random latents', 'generated')}
    for i in range(n):
        wave = render_loop(HELD_OUT+i, bars=BARS, sample_rate=SAMPLE_RATE).waveform
        z = gain*codec.encode(wave[None], circular=True, n_latents=PER_BAR*BARS)[0]
        noise = spread*circle_noise(i, codec.channels, z.shape[1])
        made = made_latents(field, i, codec.channels)
        shares['original'].append(pitch.line_share(wave, SAMPLE_RATE))
        for name, x in {'codec': z, 'random latents': noise, 'generated': made}.items():
            again = codec.decode((x/gain)[None], circular=True, seed=i, n_samples=wave.shape[-1])[0]
            shares[name].append(pitch.line_share(again, SAMPLE_RATE))
    means = {name: np.mean(values) for name, values in shares.items()}
    found = {name: round(float(mean/means['original']), 3) for name, mean in means.items()}
    floor = found['random latents']
    found['above the floor'] = round((found['generated']-floor)/(1-floor), 3)
    return found

def main():
    args = arguments()
    torch.set_num_threads(1)
    if args.tiny:
        args.steps, args.loops, args.held_out, args.batch = 2, 4, 2, 2
    codec = SpectralCodec.from_pretrained(args.codec)
    gain = gain_of(codec, args.taper)
    latents = latents_of(codec, gain, range(args.loops))
    widths = (8, 8, 8, 8) if args.tiny else (48, 96, 144, 192)
    torch.manual_seed(0)
    model = UNet(channels=codec.channels, widths=widths)
    field = train(model, latents, args)
    found = table(codec, gain, field, args.held_out)
    print(found, flush=True)
    (args.out/'scores.json').write_text(json.dumps(found, indent=1)+'\n')

if __name__ == '__main__':
    main()
