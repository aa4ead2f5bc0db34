"""Train a U-Net on stems from nothing: render loops, prepare them, train, and measure what it makes.

    python recipes/codec.py --out runs/stems                                  # first the codec, once
    python recipes/unet.py --codec runs/stems/codec --out runs/unet           # 4,180 loops, 6,000 steps
    python recipes/unet.py --codec runs/stems/codec --out /tmp/unet --tiny    # the miniature of the tests
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch

from ladmg import pitch
from ladmg.audio import Loop
from ladmg.dataset import prepare, synth
from ladmg.groovebox.stems import STEMS, render_with_stems
from ladmg.pipeline import LoopPipeline
from ladmg.training import train
from stems import FIRST, HELD_OUT, SAMPLE_RATE, kad

LENGTHS = {2: .6, 4: .3, 1: .1} # bars → share of the loops
WIDTHS = (160, 224, 288, 352)

def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--codec', required=True, help='folder that codec.py wrote')
    parser.add_argument('--out', type=Path, default=Path('runs/unet'))
    parser.add_argument('--loops', type=int, default=4180)
    parser.add_argument('--steps', type=int, default=6000)
    parser.add_argument('--widths', type=int, nargs=4, default=WIDTHS)
    parser.add_argument('--frames', type=int, default=1536, help='of a batch')
    parser.add_argument('--device', default=None, help='cuda, or as fast as there is')
    parser.add_argument('--held-out', type=int, default=24, help='loops to measure')
    parser.add_argument('--tiny', action='store_true', help='a miniature for tests')
    return parser.parse_args()

def make_data(args) -> Path:
    "Render and encode loops of several lengths; what is there already stays."
    seed = FIRST
    for bars, share in LENGTHS.items():
        n = round(share*args.loops)
        synth(args.out/'music', n, bars=bars, seed=seed, stems=True)
        seed += n
    about = prepare(args.out/'music', args.out/'data', args.codec, clap='ladmg')
    print(about['loops'], 'loops,', about['minutes'], 'minutes', flush=True)
    return args.out/'data'

def train_on(data:Path, args):
    "Train; a run that was stopped goes on."
    settings = dict(alpha_dist='early', lr=1e-3, warmup=200, decay=.5, ema=.999, device=args.device)
    run = train(data, args.out/'run', steps=args.steps, frames=args.frames, net=dict(widths=args.widths), **settings)
    for state in run:
        valid = state.logs['valid']
        print(state.step, f'{state.seconds:.0f} s, loss {state.loss:.4f}, held out {valid:.4f}', flush=True)

# Scores

def held_out(seed:int) -> Loop: # of two bars, with stems
    return render_with_stems(HELD_OUT+seed, bars=2, sample_rate=SAMPLE_RATE, channels=2)

def shares_of(loop:Loop) -> dict: # stem, and 'all' → share of lines
    "Measure each stem that sounds, and the sum."
    waves = {name: wave for name, wave in loop.stems.items() if wave.abs().max() > 1e-3}
    waves['all'] = loop.waveform
    return {name: pitch.line_share(wave, SAMPLE_RATE) for name, wave in waves.items()}

def made_from(pipe, loop:Loop, seed:int) -> dict: # kind → Loop
    "Make one loop of each kind, all at the tempo of a held-out loop."
    codec = pipe.codec
    spread = codec.std[:, None]*torch.randn(codec.channels, 64, generator=torch.Generator().manual_seed(seed))
    cond = pipe.conditions(loop.bpm, 2, key=loop.key)
    latents = {'codec': codec.encode_loop(loop),
               'random latents': spread,
               'generated': pipe.sample(cond, [seed], loop.bpm, 2, guidance_scale=1.)[0]}
    return {kind: codec.decode_loops(z[None], loop.bpm, 2)[0] for kind, z in latents.items()}

def table(pipe, n:int) -> dict: # kind → stem → share of lines; and KAD
    "Measure held-out loops, the codec, random latents and generated loops."
    kinds = {'original': [held_out(i) for i in range(n)]}
    for i, loop in enumerate(kinds['original']):
        for kind, made in made_from(pipe, loop, i).items():
            kinds.setdefault(kind, []).append(made)
    music = [held_out(i).waveform for i in range(n, 3*n)]
    embedding = pitch.NoteEmbedding(music, SAMPLE_RATE)
    found = {}
    for kind, loops in kinds.items():
        shares = [shares_of(loop) for loop in loops]
        row = {name: np.mean([share[name] for share in shares if name in share]) for name in (*STEMS, 'all')}
        row['kad'] = kad(embedding, music, [loop.waveform for loop in loops])
        found[kind] = {name: round(float(value), 3) for name, value in row.items()}
        print(f'{kind:15}', found[kind], flush=True)
    return found

def main():
    args = arguments()
    if args.tiny:
        args.loops, args.steps, args.held_out, args.frames = 10, 2, 2, 128
        args.widths = (8, 8, 8, 8)
    train_on(make_data(args), args)
    pipe = LoopPipeline.from_pretrained(args.out/'run', args.codec)
    found = table(pipe, args.held_out)
    (args.out/'scores.json').write_text(json.dumps(found, indent=1)+'\n')

if __name__ == '__main__':
    main()
