"""Fit the spectral codec from nothing: render loops, add up moments, solve, write weights, score held-out loops.

    python recipes/codec.spectral.py --n 300 --out runs/spectral      # about ten minutes on a free core
    python recipes/codec.spectral.py --tiny --out /tmp/spectral       # the miniature of the tests
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ladmg import pitch
from ladmg.audio import Loop
from ladmg.codec.scores import opus
from ladmg.codec.spectral import Design, SpectralCodec
from ladmg.core import atomic
from ladmg.groovebox.machine import render_loop
from ladmg.groovebox.stems import render_voices
from ladmg.metrics.distances import KAD

SAMPLE_RATE = 48000 # Hz
HELD_OUT = 10_000 # seeds of held-out loops start here
EVERY = 20 # loops between two checkpoints
PANS = dict(hat=.4, open_hat=-.3, ride=-.4, shaker=.5, rim=-.3, tom=.3, conga=-.5) # −1 left, 1 right
WIDE = ('stab', 'pad', 'sweep', 'clap') # voices that come from both sides

def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--n', type=int, default=300, help='loops to fit to')
    parser.add_argument('--held-out', type=int, default=16, help='loops to score')
    parser.add_argument('--out', type=Path, default=Path('runs/spectral'))
    parser.add_argument('--stereo', action='store_true', help='place the voices, and fit an image of 8 numbers')
    parser.add_argument('--tiny', action='store_true', help='a miniature for tests')
    parser.add_argument('--set', nargs='*', default=[], help='fields of Design, as block=10')
    return parser.parse_args()

# Loops

def place(voice:str, wave:np.ndarray) -> np.ndarray: # (S,) → (2, S)
    "Place a voice; wide ones reach the right later by 11 ms."
    if voice in WIDE:
        late = np.roll(wave, round(.011*SAMPLE_RATE))
        return np.stack((wave, .6*wave+.4*late))
    position = PANS.get(voice, 0.)
    return np.stack(((1-position)*wave, (1+position)*wave))

def loop_of(seed:int, stereo:bool) -> torch.Tensor: # (channels, S)
    "Render two bars; in stereo from placed voices, since the groovebox is mono."
    if not stereo:
        return render_loop(seed, bars=2, sample_rate=SAMPLE_RATE).waveform
    voices = render_voices(seed, bars=2, sample_rate=SAMPLE_RATE)
    placed = [place(voice, loop.waveform[0].numpy()) for voice, loop in voices.items()]
    return torch.from_numpy(sum(placed).astype(np.float32))

# Fitting

def checkpoint_tensors(codec, done:int) -> dict: # name → tensor
    tensors = {'done': torch.tensor(done)}
    for i, group in enumerate(codec.groups):
        for name, value in group.moments.items():
            tensors[f'{i}.{name}'] = torch.as_tensor(value)
    return tensors

def resume(codec, path:Path) -> int: # loops that are counted in already
    "Read the moments of a fit that was stopped."
    if not path.exists():
        return 0
    tensors = load_file(path)
    for i, group in enumerate(codec.groups):
        group.moments = {name: tensors[f'{i}.{name}'] for name in group.moments}
    return int(tensors['done'])

def fit_codec(codec, n:int, stereo:bool, folder:Path):
    "Count loops in until there are n; a fit that was stopped goes on."
    path = folder/'moments.safetensors'
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(resume(codec, path), n):
        codec.add(loop_of(seed, stereo)[None])
        done = seed+1
        if done % EVERY == 0 or done == n:
            with atomic(path) as new:
                save_file(checkpoint_tensors(codec, done), new)
            print(f'{done} loops', flush=True)
    kept = codec.solve()
    print('variance kept', np.round(kept, 3), 'channels', codec.channels, flush=True)

# Scores

def through_codec(codec, wave, seed): # (channels, S) → (channels, S)
    "Encode and decode a loop."
    z = codec.encode(wave[None], circular=True)
    return codec.decode(z, circular=True, seed=seed, n_samples=wave.shape[-1])[0]

def from_random_latents(codec, wave, seed): # → (channels, S)
    "Decode white noise that has the spread of latents: the floor of every share of lines."
    n = round(wave.shape[-1]/codec.hop)
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(1, codec.channels, n, generator=g)*codec.stats['std'][:, None]
    return codec.decode(z, circular=True, seed=seed, n_samples=wave.shape[-1])[0]

def opus_of(wave, kbps:int): # (channels, S) → (channels, S), each channel by itself
    return torch.cat([opus(row[None], SAMPLE_RATE, kbps)[0] for row in wave])

def kad(embedding, music:list, judged:list) -> float: # lists of (channels, S)
    "Measure the distance of two sets in the embedding of notes."
    metric = KAD(embedding)
    metric.update([Loop(w, SAMPLE_RATE) for w in music], real=True)
    metric.update([Loop(w, SAMPLE_RATE) for w in judged])
    return float(metric.compute()['KAD'])

def scores(made:list, true:list, embedding, music) -> dict: # name → number
    "Measure what came back against what went in."
    pairs = list(zip(made, true))
    shares = [[pitch.line_share(w, SAMPLE_RATE) for w in waves] for waves in (made, true)]
    found = dict(lines=np.mean(shares[0])/np.mean(shares[1]),
                 constant_q=np.mean([pitch.cq_similarity(a, b, SAMPLE_RATE) for a, b in pairs]),
                 chroma=np.mean([pitch.chroma_similarity(a, b, SAMPLE_RATE) for a, b in pairs]),
                 kad=kad(embedding, music, made))
    if len(true[0]) == 2:
        gaps = [pitch.side_width(a, SAMPLE_RATE)-pitch.side_width(b, SAMPLE_RATE) for a, b in pairs]
        found['width_dB'] = np.abs(np.median(gaps, 0)[1:]).max()
    return {name: round(float(value), 3) for name, value in found.items()}

def print_table(codec, n:int, stereo:bool) -> dict: # codec → scores
    "Score the codec beside Opus and beside random latents."
    true = [loop_of(HELD_OUT+i, stereo) for i in range(n)]
    music = [loop_of(HELD_OUT+i, stereo) for i in range(n, 3*n)]
    embedding = pitch.NoteEmbedding(music, SAMPLE_RATE)
    rows = {'original': true,
            'spectral': [through_codec(codec, w, i) for i, w in enumerate(true)],
            'random latents': [from_random_latents(codec, w, i) for i, w in enumerate(true)]}
    for kbps in (12, 24):
        rows[f'Opus {kbps}'] = [opus_of(w, kbps) for w in true]
    table = {}
    for name, waves in rows.items():
        table[name] = scores(waves, true, embedding, music)
        print(f'{name:15}', table[name], flush=True)
    return table

def design_of(args) -> Design:
    "Read the design from the command line."
    pairs = dict(setting.split('=') for setting in args.set)
    settings = {name: json.loads(value) for name, value in pairs.items()}
    return Design(n_sides=8 if args.stereo else 0, **settings)

def main():
    args = arguments()
    torch.set_num_threads(1)
    n = 4 if args.tiny else args.n
    held_out = 2 if args.tiny else args.held_out
    codec = SpectralCodec(design_of(args))
    fit_codec(codec, n, args.stereo, args.out)
    table = print_table(codec, held_out, args.stereo)
    card = f'# Spectral codec\n\nMade by recipes/codec.spectral.py from {n} loops of the groovebox.\n'
    codec.save(args.out/'codec', card)
    (args.out/'scores.json').write_text(json.dumps(table, indent=1)+'\n')

if __name__ == '__main__':
    main()
