"What a notebook can't show of `ladmg.fit`: runs that are killed, interrupted, and spread over two processes."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest, torch
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

def slow(step, rank, world):
    "A batch in a hundredth of a second, so that there is time to be killed."
    time.sleep(.01)
    g = generator('batch', step, rank)
    return torch.randn(16, 8, generator=g), torch.randn(16, 4, generator=g)

def halves(step, rank, world):
    "This process's part of one batch of 16."
    g = generator('batch', step)
    x, y = torch.randn(16, 8, generator=g), torch.randn(16, 4, generator=g)
    return x.chunk(world)[rank], y.chunk(world)[rank]

def single(run):
    "A run in one process that says each of its steps; started by the tests below."
    for s in fit(model(.2), squares, slow, run, steps=STEPS, warmup=10, log_every=1, save_seconds=.1, device="cpu"):
        print(s.step, flush=True)

def double(run):
    "Five steps of learning on halves of a batch; every process stores the gradients of each step, and what it has in the end."
    net, rank, out = model(0.), int(os.environ.get('RANK', 0)), {}
    if rank: [nn.init.zeros_(p) for p in net.parameters()]                                       # the first process's weights count
    for s in fit(net, squares, halves, run, steps=5, lr=1e-2, warmup=0, decay=0, clip=float('inf'), log_every=1, device='cpu'):
        out |= {f'grad.{s.step}.{k}': p.grad.clone() for k, p in s.model.named_parameters()}
    out |= {f'model.{k}': v for k, v in s.model.state_dict().items()} | {f'ema.{k}': v for k, v in s.ema.state_dict().items()}
    save_file(out | {'loss': torch.tensor(s.loss), 'main': torch.tensor(s.main)}, Path(run)/f'{rank}.safetensors')

def launch(what, run, *before):
    return subprocess.Popen([sys.executable, *before, __file__, what, str(run)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, 'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1'})

def done(p, code=0):
    out, err = p.communicate(timeout=300)
    assert p.returncode == code, err[-3000:]
    return out.split()

def checkpoint(run):
    with safe_open(run/'checkpoint.safetensors', 'pt') as f: return json.loads(f.metadata()['fit']), {k: f.get_tensor(k) for k in f.keys()}

def equal(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

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
        if int(line) >= at and checkpoint(run)[0]['step']: break
    p.send_signal(sig)
    return p, int(line)

def test_killed_and_resumed_is_unbroken(tmp_path, unbroken):
    p, last = stop(tmp_path, 60, signal.SIGKILL)
    done(p, -signal.SIGKILL)
    about, tensors = checkpoint(tmp_path)
    assert 0 < about['step'] < STEPS and not equal(tensors, unbroken)
    (tmp_path/'.checkpoint.safetensors.x.tmp').mkdir() # as left by a kill in the middle of a write
    assert done(launch('single', tmp_path))[0] == str(about['step']+1)
    about, tensors = checkpoint(tmp_path)
    assert about['step'] == STEPS and equal(tensors, unbroken)
    assert [f.name for f in tmp_path.iterdir() if not f.name.startswith('events')] == ['checkpoint.safetensors']

def test_ctrl_c_loses_nothing(tmp_path, unbroken):
    p, last = stop(tmp_path, 50, signal.SIGINT)
    out = done(p, -signal.SIGINT)
    step = checkpoint(tmp_path)[0]['step']
    assert step in (last, int(out[-1]) if out else last, (int(out[-1]) if out else last)+1)      # the last step said, or the one it was in
    assert done(launch('single', tmp_path))[0] == str(step+1)
    assert equal(checkpoint(tmp_path)[1], unbroken)

def test_two_processes_are_one_with_the_double_batch(tmp_path):
    (tmp_path/'one').mkdir(); (tmp_path/'two').mkdir()
    done(launch('double', tmp_path/'one'))
    done(launch('double', tmp_path/'two', '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2'))
    one, a, b = (load_file(tmp_path/f'{f}.safetensors') for f in ('one/0', 'two/0', 'two/1'))
    assert a.pop('main') and one.pop('main') and not b.pop('main')
    assert equal(a, b)                                                                           # the processes agree to the bit
    for k in one: # sums in another order, which Adam magnifies
        rtol, atol = (1e-5, 1e-7) if k.startswith('grad.1.') else (1e-3, 1e-5)
        torch.testing.assert_close(a[k], one[k], rtol=rtol, atol=atol, msg=lambda m: f'{k}: {m}')
    assert len([*(tmp_path/'two').glob('events*')]) == 1                                         # only the first process writes

if __name__ == '__main__': {'single': single, 'double': double}[sys.argv[1]](sys.argv[2])
