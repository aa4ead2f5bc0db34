"Training runs that are killed, interrupted, and spread over two processes."
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from ladmg.core import generator
from ladmg.fit import fit

STEPS = 150

def model(dropout):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, 4))

def squares(net, batch):
    x, y = batch
    return {'loss': (net(x)-y).square().mean()}

def pairs(*seed):
    g = generator('batch', *seed)
    return torch.randn(16, 8, generator=g), torch.randn(16, 4, generator=g)

def slow(step, rank, world):
    "A batch in a hundredth of a second, so that there is time to be killed."
    time.sleep(.01)
    return pairs(step, rank)

def halves(step, rank, world):
    "This process's part of one batch of 16."
    x, y = pairs(step)
    return x.chunk(world)[rank], y.chunk(world)[rank]

def single(run):
    "A run in one process that prints each of its steps; started by the tests below."
    settings = dict(steps=STEPS, warmup=10, log_every=1, save_seconds=.1, device='cpu')
    for s in fit(model(.2), squares, slow, run, **settings):
        print(s.step, flush=True)

def double(run):
    "Five steps on halves of a batch; every process stores the gradients of each step, and its state at the end."
    net = model(0.)
    rank = int(os.environ.get('RANK', 0))
    out = {}
    if rank: # the first process's weights count
        for p in net.parameters():
            nn.init.zeros_(p)
    settings = dict(steps=5, lr=1e-2, warmup=0, decay=0, clip=float('inf'), log_every=1, device='cpu')
    for s in fit(net, squares, halves, run, **settings):
        out |= {f'grad.{s.step}.{k}': p.grad.clone() for k, p in s.model.named_parameters()}
    out |= {f'model.{k}': v for k, v in s.model.state_dict().items()}
    out |= {f'ema.{k}': v for k, v in s.ema.state_dict().items()}
    out |= {'loss': torch.tensor(s.loss), 'main': torch.tensor(s.main)}
    save_file(out, Path(run)/f'{rank}.safetensors')

def launch(what, run, *before):
    command = [sys.executable, *before, __file__, what, str(run)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1'}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

def done(p, code=0):
    out, err = p.communicate(timeout=300)
    assert p.returncode == code, err[-3000:]
    return out.split()

def checkpoint(run):
    with safe_open(run/'checkpoint.safetensors', 'pt') as f:
        return json.loads(f.metadata()['fit']), {k: f.get_tensor(k) for k in f.keys()}

def only(tensors, names):
    return {name: tensors[name] for name in names}

def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    run = tmp_path_factory.mktemp('unbroken')
    assert done(launch('single', run)) == [str(i) for i in range(1, STEPS+1)]
    about, tensors = checkpoint(run)
    assert about['step'] == STEPS
    return tensors

def stop(run, at, sig):
    "Send a signal once step `at` is done and a checkpoint from after the start is on disk."
    p = launch('single', run)
    for line in p.stdout:
        if int(line) >= at and checkpoint(run)[0]['step']:
            break
    p.send_signal(sig)
    return p, int(line)

def test_killed_and_resumed_is_unbroken(tmp_path, unbroken):
    p, last = stop(tmp_path, 60, signal.SIGKILL)
    done(p, -signal.SIGKILL)
    about, tensors = checkpoint(tmp_path)
    assert 0 < about['step'] < STEPS and not equal(tensors, unbroken)
    (tmp_path/'.checkpoint.safetensors.abcdefgh.ladmg-tmp').mkdir() # as left by a kill in the middle of a write
    assert done(launch('single', tmp_path))[0] == str(about['step']+1)
    about, tensors = checkpoint(tmp_path)
    assert about['step'] == STEPS and equal(tensors, unbroken)
    ours = {'checkpoint.safetensors', '.ladmg-run', '.ladmg-lock'}
    assert {f.name for f in tmp_path.iterdir() if not f.name.startswith('events')} <= ours

def test_ctrl_c_loses_nothing(tmp_path, unbroken):
    p, last = stop(tmp_path, 50, signal.SIGINT)
    out = done(p, -signal.SIGINT)
    step = checkpoint(tmp_path)[0]['step']
    printed = int(out[-1]) if out else last
    assert step in (last, printed, printed+1) # the last step that was printed, or the one it was in
    assert done(launch('single', tmp_path))[0] == str(step+1)
    assert equal(checkpoint(tmp_path)[1], unbroken)

@pytest.mark.slow
def test_two_processes_are_one_with_the_double_batch(tmp_path):
    (tmp_path/'one').mkdir()
    (tmp_path/'two').mkdir()
    done(launch('double', tmp_path/'one'))
    done(launch('double', tmp_path/'two', '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2'))
    one, a, b = (load_file(tmp_path/f'{f}.safetensors') for f in ('one/0', 'two/0', 'two/1'))
    assert a.pop('main') and one.pop('main') and not b.pop('main')
    assert equal(a, b) # the processes agree to the bit
    # sums in another order, which Adam magnifies
    first = [name for name in one if name.startswith('grad.1.')]
    torch.testing.assert_close(only(a, first), only(one, first), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(only(a, one), one, rtol=1e-3, atol=1e-5)
    assert len([*(tmp_path/'two').glob('events*')]) == 1 # only the first process writes

if __name__ == '__main__':
    {'single': single, 'double': double}[sys.argv[1]](sys.argv[2])
