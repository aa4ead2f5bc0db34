"""Fit the codec of stems from nothing: render loops, add up moments, solve, score held-out loops.

    python recipes/codec.py --out runs/stems       # 300 loops
    python recipes/codec.py --tiny --out /tmp/stems       # the miniature of the tests
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ladmg import pitch
from ladmg.codec.scores import gaps, mel_distance, onset_f, opus
from ladmg.codec.spectral import Design, SpectralCodec
from ladmg.codec.stems import StemCodec
from ladmg.core import atomic
from stems import FIRST, FRAMES, HELD_OUT, SAMPLE_RATE, kad, mixed, stems_of

EVERY = 20 # loops between two checkpoints
DESIGNS = {
    'drums': Design(block=10, border=1000., bands=24, n_lows=24, n_bands=12, n_sides=4),
    'bass': Design(block=10, border=3500., n_lows=32, n_bands=2),
    'synth': Design(block=10, border=3500., n_lows=48, n_bands=4, n_sides=4),
}

def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--n', type=int, default=300, help='loops to fit to')
    parser.add_argument('--held-out', type=int, default=16, help='loops to score')
    parser.add_argument('--out', type=Path, default=Path('runs/stems'))
    parser.add_argument('--tiny', action='store_true', help='a miniature for tests')
    return parser.parse_args()

# Fitting

def groups_of(codec) -> dict: # name → Components
    "Name the components of all stems."
    return {f'{stem}.{i}': group
            for stem, one in codec.codecs.items()
            for i, group in enumerate(one.groups)}

def checkpoint_tensors(codec, done:int) -> dict: # name → tensor
    tensors = {'done': torch.tensor(done)}
    for name, group in groups_of(codec).items():
        for moment, value in group.moments.items():
            tensors[f'{name}.{moment}'] = torch.as_tensor(value)
    return tensors

def resume(codec, path:Path) -> int: # loops that are counted in already
    "Read the moments of a fit that was stopped."
    if not path.exists():
        return 0
    tensors = load_file(path)
    for name, group in groups_of(codec).items():
        group.moments = {moment: tensors[f'{name}.{moment}'] for moment in group.moments}
    return int(tensors['done'])

def fit_codec(codec, n:int, folder:Path):
    "Count loops in until there are n; a fit that was stopped goes on."
    path = folder/'moments.safetensors'
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(resume(codec, path), n):
        for name, wave in stems_of(FIRST+seed).items():
            codec.codecs[name].add(wave, FRAMES)
        done = seed+1
        if done % EVERY == 0 or done == n:
            with atomic(path) as new:
                save_file(checkpoint_tensors(codec, done), new)
            print(f'{done} loops', flush=True)
    for name, one in codec.codecs.items():
        print(name, 'variance kept', np.round(one.solve(), 3), flush=True)

# Scores

def through_codec(codec, stems): # → (2, S)
    "Encode and decode a loop."
    z = codec.encode(stems, circular=True, n_latents=FRAMES)
    return mixed(codec.decode(z, circular=True, n_samples=stems['drums'].shape[-1]))

def from_random_latents(codec, stems, seed): # → (2, S)
    "Decode white noise that has the spread of latents: the floor of every share of lines."
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(1, codec.channels, FRAMES, generator=g)*codec.std[:, None]
    return mixed(codec.decode(z, circular=True, n_samples=stems['drums'].shape[-1]))

def opus_of(wave, kbps:int): # (2, S) → (2, S), each side by itself
    return torch.cat([opus(row[None], SAMPLE_RATE, kbps)[0] for row in wave])

def mono(wave): # (2, S) → (S,)
    return wave.mean(0).numpy()

def scores(made:list, true:list, embedding, music) -> dict: # name → number
    "Measure what came back against what went in."
    pairs = list(zip(made, true))
    shares = [[pitch.line_share(w, SAMPLE_RATE) for w in waves] for waves in (made, true)]
    widths = [pitch.side_width(a, SAMPLE_RATE)-pitch.side_width(b, SAMPLE_RATE) for a, b in pairs]
    missing = [gaps(mono(b), SAMPLE_RATE)-gaps(mono(a), SAMPLE_RATE) for a, b in pairs]
    found = dict(lines=np.mean(shares[0])/np.mean(shares[1]),
                 constant_q=np.mean([pitch.cq_similarity(a, b, SAMPLE_RATE) for a, b in pairs]),
                 chroma=np.mean([pitch.chroma_similarity(a, b, SAMPLE_RATE) for a, b in pairs]),
                 mel=np.mean([mel_distance(b[None], a[None], SAMPLE_RATE).item() for a, b in pairs]),
                 onsets=np.mean([onset_f(mono(b), mono(a), SAMPLE_RATE) for a, b in pairs]),
                 gaps_dB=np.abs(np.mean(missing, 0)).max(),
                 kad=kad(embedding, music, made),
                 width_dB=np.abs(np.median(widths, 0)[1:]).max())
    return {name: round(float(value), 3) for name, value in found.items()}

def print_table(codec, n:int) -> dict: # codec → scores
    "Score the codec beside Opus and beside random latents."
    parts = [stems_of(HELD_OUT+i) for i in range(n)]
    true = [mixed(stems) for stems in parts]
    music = [mixed(stems_of(HELD_OUT+i)) for i in range(n, 3*n)]
    embedding = pitch.NoteEmbedding(music, SAMPLE_RATE)
    rows = {'original': true,
            'spectral': [through_codec(codec, stems) for stems in parts],
            'random latents': [from_random_latents(codec, stems, i) for i, stems in enumerate(parts)]}
    for kbps in (12, 16, 24):
        rows[f'Opus 2 x {kbps}'] = [opus_of(w, kbps) for w in true]
    table = {}
    for name, waves in rows.items():
        table[name] = scores(waves, true, embedding, music)
        print(f'{name:15}', table[name], flush=True)
    return table

def main():
    args = arguments()
    torch.set_num_threads(1)
    n = 4 if args.tiny else args.n
    held_out = 2 if args.tiny else args.held_out
    codec = StemCodec({name: SpectralCodec(design) for name, design in DESIGNS.items()})
    fit_codec(codec, n, args.out)
    made_by = f'Made by recipes/codec.py from {n} loops of the groovebox.'
    codec.save(args.out/'codec', f'# Codec of stems\n\n{made_by}\n')
    table = print_table(codec, held_out)
    (args.out/'scores.json').write_text(json.dumps(table, indent=1)+'\n')

if __name__ == '__main__':
    main()
