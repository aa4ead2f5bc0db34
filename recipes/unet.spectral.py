"""Train a small U-Net on the latents of the spectral codec, and measure how many lasting lines its loops have.

    python recipes/codec.spectral.py --out runs/spectral                    # first the codec, once
    python recipes/unet.spectral.py --codec runs/spectral --out runs/small  # 2,000 steps
    python recipes/unet.spectral.py --codec runs/spectral --out /tmp/small --tiny
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ladmg import pitch
from ladmg.blending import Preconditioned, blending_loss
from ladmg.codec.spectral import SpectralCodec, StemCodec
from ladmg.core import Cond, atomic
from ladmg.features import key_vector
from ladmg.fit import fit
from ladmg.groovebox.machine import write_score
from ladmg.groovebox.stems import STEMS
from ladmg.noise import circle_noise
from ladmg.rhythm.phasors import phasors
from ladmg.solvers import integrate
from ladmg.unet import UNet
from stems import BARS, FRAMES, HELD_OUT, SAMPLE_RATE, kad, mixed, stems_of

def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--codec', type=Path, required=True, help='folder that codec.spectral.py wrote')
    parser.add_argument('--out', type=Path, default=Path('runs/small'))
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--loops', type=int, default=1000)
    parser.add_argument('--held-out', type=int, default=24)
    parser.add_argument('--batch', type=int, default=24)
    parser.add_argument('--tiny', action='store_true', help='a miniature for tests')
    return parser.parse_args()

# Data

def key_of(seed:int) -> torch.Tensor: # (24,)
    score = write_score(seed, None, BARS, SAMPLE_RATE, None, None)
    return key_vector(score.groove.key)

def encode(codec, stems) -> torch.Tensor: # (C, T)
    return codec.encode(stems, circular=True, n_latents=FRAMES)[0]

def latents_of(codec, n:int, path:Path) -> torch.Tensor: # (N, C, T) float16
    "Render and encode loops, or read what an earlier run has encoded."
    if path.exists():
        return load_file(path)['latents']
    found = torch.stack([encode(codec, stems_of(seed)).half() for seed in range(n)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as new:
        save_file({'latents': found}, new)
    return found

class LoopBatches:
    "Draw loops, each turned at random together with its phasors."
    def __init__(self, latents, size:int):
        self.latents = latents
        self.keys = torch.stack([key_of(seed) for seed in range(len(latents))])
        self.size = size
        self.beats = phasors(FRAMES, BARS)

    def __call__(self, step:int, rank:int, world:int) -> tuple: # (B, C, T), Cond
        rng = np.random.default_rng((step, rank))
        chosen = rng.integers(len(self.latents), size=self.size)
        turns = rng.integers(FRAMES, size=self.size)
        x = [self.latents[i].float().roll(-int(turn), 1) for i, turn in zip(chosen, turns)]
        beats = [self.beats.roll(-int(turn), 1) for turn in turns]
        return torch.stack(x), Cond(rhythm=torch.stack(beats), key=self.keys[chosen])

# Training

def loss(model, batch) -> dict:
    x1, cond = batch
    losses, _ = blending_loss(model, x1, cond.drop({'rhythm': .1, 'key': .1}))
    return {'loss': losses.mean()}

def train(model, latents, args) -> torch.nn.Module: # the averaged weights
    "Train; a run that was stopped goes on."
    settings = dict(lr=1.5e-3, warmup=100, decay=.5, ema=.997, device='cpu')
    batches = LoopBatches(latents, args.batch)
    for state in fit(model, loss, batches, args.out/'run', steps=args.steps, log_every=100, **settings):
        print(state.step, f'{state.seconds:.0f} s, loss {state.loss:.4f}', flush=True)
    return state.ema

@torch.no_grad()
def made_latents(field, seed:int, channels:int) -> torch.Tensor: # (C, T)
    "Make one loop from noise, beat and the key of a held-out loop."
    cond = Cond(rhythm=phasors(FRAMES, BARS)[None], key=key_of(HELD_OUT+seed)[None])
    noise = circle_noise(seed, channels, FRAMES)[None]
    return integrate(field, noise, cond, 16)[0].float()

# Scores

def shares_of(stems:dict) -> dict: # stem, and 'all' → share of lines
    "Measure each stem that sounds, and the sum."
    waves = {name: wave[0] for name, wave in stems.items() if wave.abs().max() > 1e-3}
    waves['all'] = mixed(stems)
    return {name: pitch.line_share(wave, SAMPLE_RATE) for name, wave in waves.items()}

def table(codec, field, n:int) -> dict: # kind → stem → share of lines; and KAD
    "Measure held-out loops, the codec, random latents and generated loops."
    kinds = {name: [] for name in ('original', 'codec', 'random latents', 'generated')}
    for i in range(n):
        stems = stems_of(HELD_OUT+i)
        length = stems['drums'].shape[-1]
        latents = {'codec': encode(codec, stems),
                   'random latents': codec.std[:, None]*circle_noise(i, codec.channels, FRAMES),
                   'generated': made_latents(field, i, codec.channels)}
        kinds['original'].append(stems)
        for kind, z in latents.items():
            kinds[kind].append(codec.decode(z[None], circular=True, seed=i, n_samples=length))
    music = [mixed(stems_of(HELD_OUT+i)) for i in range(n, 3*n)]
    embedding = pitch.NoteEmbedding(music, SAMPLE_RATE)
    found = {}
    for kind, loops in kinds.items():
        shares = [shares_of(stems) for stems in loops]
        found[kind] = {name: float(np.mean([share[name] for share in shares if name in share]))
                       for name in (*STEMS, 'all')}
        found[kind]['kad'] = kad(embedding, music, [mixed(stems) for stems in loops])
        found[kind] = {name: round(value, 3) for name, value in found[kind].items()}
        print(f'{kind:15}', found[kind], flush=True)
    return found

def main():
    args = arguments()
    torch.set_num_threads(1)
    if args.tiny:
        args.steps, args.loops, args.held_out, args.batch = 2, 4, 2, 2
    codec = StemCodec({name: SpectralCodec.from_pretrained(args.codec/name) for name in STEMS})
    latents = latents_of(codec, args.loops, args.out/'latents.safetensors')
    widths = (8, 8, 8, 8) if args.tiny else (128, 192, 256, 320)
    torch.manual_seed(0)
    net = UNet(channels=codec.channels, widths=widths, key=24)
    parameters = sum(p.numel() for p in net.parameters())
    print(f'{codec.channels} channels, {parameters/1e6:.1f} million parameters', flush=True)
    field = train(Preconditioned(net, codec.std), latents, args)
    found = table(codec, field, args.held_out)
    (args.out/'scores.json').write_text(json.dumps(found, indent=1)+'\n')

if __name__ == '__main__':
    main()
