"""No command loses or changes a file that LADMG did not make, whatever fails and whoever is killed.

As a script: `python tests/test_safety.py prepare|train KILLS SEED FOLDER` kills that command so often.
"""
import errno
import functools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace

import psutil
import pytest
from conftest import threads

# Heavy modules are imported in the functions: a worker process imports this file, and must be quick.

def snapshot(folder): # → path → content
    "Read all that is in a folder."
    found = {}
    for path in sorted(folder.rglob('*')):
        if path.is_symlink():
            found[path] = os.readlink(path)
        else:
            found[path] = path.read_bytes() if path.is_file() else 'folder'
    return found

def lost(before, folder):
    "What is missing or changed since a snapshot; what was added doesn't count."
    now = snapshot(folder)
    return [str(path) for path, content in before.items() if now.get(path) != content]

# A tree of foreign files, and every command with every output

FOREIGN_TEXTS = {
    'song.png': 'a cover',
    'notes.txt': 'dear diary',
    'results.json': '{"mine": 1}',
    '.hidden': 'x',
    'loop.wav/inside': 'x',
    'model/config.json': '{"architectures": ["Other"]}',
    'model/model.safetensors': 'weights',
    'run/checkpoint.safetensors': 'mine',
    'run/model/mine.txt': 'x',
    'run/sound.json': '{}',
    'run/log.jsonl': '',
    'data/state.json': '{}',
    'data/about.json': '{}',
    'data/parts/part.arrow': 'x',
    'deep/deeper/x_000.wav': 'x',
    'empty.wav': '',
    'own/mine.png': 'a cover',
}

def foreign_tree(folder):
    "What people have: music, covers, notes, models of other programs, links, names that look like ours."
    import soundfile
    for path in ('own/music', 'own/empty', 'model', 'run/model', 'data/parts', 'loop.wav', 'deep/deeper'):
        (folder/path).mkdir(parents=True)
    for path in ('own/music/a.wav', 'own/music/b.flac', 'song.wav', 'own/mine.wav'):
        soundfile.write(folder/path, [.1]*2400, 24000)
    for path, text in FOREIGN_TEXTS.items():
        (folder/path).write_text(text)
    (folder/'link.wav').symlink_to('song.wav')
    (folder/'dangling.wav').symlink_to('nowhere/else.wav')
    (folder/'linked').symlink_to('own')
    return folder

FILES = [
    'song.wav', 'song.flac', 'notes.txt', 'results.json', 'loop.wav', 'empty.wav', 'link.wav',
    'dangling.wav', 'own/mine.wav', 'own', 'own/music', 'model/config.json', 'notes.txt/x.wav',
    'deep/deeper/x.wav', 'new.wav', 'new.json', 'new.mp3', 'linked/mine.wav', 'run', '',
]
FOLDERS = [
    'own', 'own/music', 'own/music/new', 'own/empty', 'model', 'run', 'run/model', 'data',
    'data/parts', 'deep', 'notes.txt', 'notes.txt/x', 'loop.wav', 'linked', 'linked/music',
    'new', '.', 'dangling.wav', '',
]
FILE_COMMANDS = {
    'generate': ['--out'],
    'generate --n 2': ['--out'],
    'morph a b --n 2': ['--out'],
    'stretch LOOP 120': ['--out'],
    'vary LOOP': ['--out'],
    'sequence kick=x...x...x...x...': ['--out'],
    'mix a b': ['--out'],
    'evaluate': ['--out'],
}
FOLDER_COMMANDS = {
    'synth --n 2 --bars 1': [],
    'prepare --clap none TREE/own/music': [],
    'train DATA': [],
    'train-clap': [],
    'train-codec': ['--out'],
    'train-codec TREE/own/music': ['--out'],
}

def tiny_fit(run):
    import torch
    from ladmg.fit import fit

    def loss(model, batch):
        return {'loss': model(batch).square().mean()}

    def batches(step, rank, world):
        return torch.ones(1, 2)

    yield from fit(torch.nn.Linear(2, 1), loss, batches, run, steps=1, device='cpu')

@pytest.fixture
def quick(monkeypatch, tmp_path):
    "The commands, with all that takes long replaced by what writes the same files."
    import torch
    from typer.testing import CliRunner
    from ladmg import audio, cli, dataset, interpolation, results, training
    from ladmg.audio import Loop
    from ladmg.clap import training as clap_training
    from ladmg.codec import training as codec_training
    from ladmg.core import atomic
    from ladmg.models import save_folder
    from ladmg.pipeline import LoopPipeline

    noise = .1*torch.randn(1, 24000, generator=torch.Generator().manual_seed(0))
    loop = Loop(noise, 24000, bpm=240, bars=1)
    for name in ('time_stretch.time_stretch', 'variation.vary', 'sequencer.sequence', 'transition.mix'):
        monkeypatch.setattr(f'ladmg.{name}', lambda *a, **k: loop)
    monkeypatch.setattr(interpolation, 'morph', lambda *a, **k: [loop, loop])
    monkeypatch.setattr(results, 'evaluate', lambda *a, **k: {'scores': {'x': {'y': 1.}}})

    def savefig(file, metadata):
        file.write_text(metadata['Software'])
    monkeypatch.setattr(audio, 'plot', lambda loop: SimpleNamespace(savefig=savefig))
    monkeypatch.setattr(cli, 'tempo_of', lambda loop: '240')

    def pipe(*arguments, n=1, **settings):
        return [loop]*n
    monkeypatch.setattr(LoopPipeline, 'from_pretrained', lambda *a: pipe)

    def train(data, run, **settings):
        for state in tiny_fit(run):
            save_folder(Path(run)/'model', {'kind': 'ladmg-unet'}, {'x': torch.zeros(1)}, 'card')
            yield state
    monkeypatch.setattr(training, 'train', train)

    def train_clap(run, *arguments, **settings):
        data = Path(run)/'data'
        if not (data/'rows.json').exists():
            with atomic(data) as new:
                new.mkdir()
                (new/'rows.json').write_text('[]')
        yield from train('', run)
    monkeypatch.setattr(clap_training, 'train_clap', train_clap)

    def train_codec(run, *arguments, **settings):
        for file in ('sound.json', 'sound/x.npy', 'keep/1.safetensors'):
            with atomic(run/file) as new:
                new.write_text('{"skipped": {}}')
        for state in tiny_fit(run/'spectral'):
            save_folder(run/'model', {'kind': 'ladmg-codec'}, {'x': torch.zeros(1)}, 'card')
            with open(run/'log.jsonl', 'a') as log:
                log.write('{}\n')
            yield 'spectral', state
    monkeypatch.setattr(codec_training, 'train_codec', train_codec)

    monkeypatch.setattr(dataset, 'worker_pool', threads)
    monkeypatch.setattr(dataset, 'render_loop', lambda *a: loop)
    loop.save(tmp_path/'loop.wav')
    (tmp_path/'data').mkdir()

    def run(line, *more):
        "One command line; the sentence with which it was refused, or ''."
        places = {'LOOP': str(tmp_path/'loop.wav'), 'DATA': str(tmp_path/'data')}
        words = [places.get(word, word) for word in line.split()]
        result = CliRunner().invoke(cli.app, [*words, *map(str, more)])
        error = result.exception
        if error and not isinstance(error, SystemExit):
            assert type(error).__name__ == 'LadmgError', (line, more, repr(error))
        return str(error or '')
    return run

TARGETS = dict.fromkeys(FILE_COMMANDS, FILES) | dict.fromkeys(FOLDER_COMMANDS, FOLDERS)

@pytest.mark.parametrize('command, targets', TARGETS.items())
def test_no_command_loses_or_changes_a_foreign_file(command, targets, quick, tmp_path, monkeypatch):
    tree = foreign_tree(tmp_path/'tree')
    before = snapshot(tree)
    monkeypatch.chdir(tree)
    options = (FILE_COMMANDS | FOLDER_COMMANDS)[command]
    done = 0
    for target in targets:
        for out in {target, str(tree/target)}: # as a relative and as an absolute path
            refused = quick(command.replace('TREE', str(tree)), *options, out)
            done += not refused
            assert lost(before, tree) == [], (command, out, refused)
    may_refuse_all = command == 'evaluate' or 'own/music' in command
    assert done or may_refuse_all, 'nothing was ever written: the test tests nothing'

def test_there_are_at_least_sixty_pairs():
    assert sum(map(len, TARGETS.values())) >= 60

def write_notes(folder):
    (folder/'my notes').mkdir()
    (folder/'my notes'/'note.txt').write_text('the good one')
    (folder/'link').symlink_to('note.txt')

def is_note(path):
    return 'my notes' in path.parts or path.name == 'link'

def test_what_we_made_is_replaced_and_what_is_beside_it_stays(quick, tmp_path):
    "Twice the same command; the user's notes in a run, its model and a data set survive."
    out = tmp_path/'out'
    music = tmp_path/'music'
    targets = {
        'generate --out': out/'loop.wav',
        'evaluate --out': out/'results.json',
        'train DATA': out/'run',
        'train-clap': out/'clap',
        'train-codec --out': out/'codec',
        'synth --n 1': music,
        f'prepare --clap none {music}': out/'data',
    }
    for command, target in targets.items():
        assert quick(command, target) == ''
    for name in ('run', 'run/model', 'clap', 'clap/data', 'codec', 'codec/model', 'codec/sound', 'data', 'data/parts'):
        write_notes(out/name)
    notes = {path: content for path, content in snapshot(out).items() if is_note(path)}
    assert len(notes) == 27
    for command, target in targets.items():
        assert quick(command, target) == ''
    assert lost(notes, out) == []

LOADERS = [
    'pipeline.LoopPipeline.from_pretrained',
    'training.train',
    'clap.training.train_clap',
    'codec.training.train_codec',
    'dataset.worker_pool',
]
COMMANDS = [
    'generate --out', 'morph a b --n 2 --out', 'stretch LOOP 120 --out', 'vary LOOP --out', 'mix a b --out',
    'sequence kick=x...x...x...x... --out', 'evaluate --out',
    'train DATA', 'train-clap', 'train-codec --out', 'synth',
]

@pytest.mark.parametrize('command', COMMANDS)
def test_output_is_checked_before_anything_is_loaded(command, tmp_path, quick, monkeypatch):
    "Nothing is loaded or made for a wrong suffix, a folder in a file, or a read-only place."
    def loaded(*arguments, **settings):
        raise AssertionError('too late')
    for name in LOADERS:
        monkeypatch.setattr(f'ladmg.{name}', loaded)
    (tmp_path/'file').write_text('')
    outs = [tmp_path/'file'/'x', '/proc/nowhere/x']
    if '--out' in command and 'codec' not in command:
        suffix = '.json' if 'evaluate' in command else '.wav'
        outs = [tmp_path/'x.mp3', *(f'{out}{suffix}' for out in outs)]
    for out in outs:
        assert quick(command, out), (command, out)

def test_whole_numbers_are_checked_at_once():
    from ladmg.core import LadmgError, check_bars
    start = time.process_time()
    for bad in (2.5, '4', None, float('nan'), 10**10, [4]):
        with pytest.raises(LadmgError):
            check_bars(bad)
    assert time.process_time()-start < .1

# Assembling a data set, with an error at every call

@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    "Three loops, and a data set of them."
    from ladmg import dataset
    from ladmg.groovebox.machine import render_loop
    home = tmp_path_factory.mktemp('prepared')
    for s in range(3):
        render_loop(s, 150, bars=1).save(home/'music'/f'{s}.wav')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'worker_pool', threads)
        about = dataset.prepare(home/'music', home/'data')
    (home/'data'/'notes.txt').write_text('mine')
    return home, about

def again(home, out, about):
    "The last step of `prepare`."
    from ladmg.core import at_work
    from ladmg.dataset import assemble
    parts = sorted((out/'parts').glob('*.arrow'))
    with at_work(out, 'data'):
        return assemble(out, parts, dict(about), .1)

CALLS = [
    'os.replace', 'os.fsync', 'os.link', 'os.mkdir', 'os.chmod',
    'shutil.copystat', 'shutil.copy2', 'tempfile.mkdtemp',
    'pathlib.Path.write_text', 'pathlib.Path.iterdir', 'pathlib.Path.touch',
    'datasets.Dataset.save_to_disk', 'ladmg.core.swap',
]

class Failing:
    "Makes one call after the other fail: the first in the first run, the second in the second one …"
    def __init__(self, patch, number):
        self.count = 0
        self.number = number
        for call in CALLS:
            patch.setattr(call, self.wrap(call))

    def wrap(self, call):
        module, _, name = call.rpartition('.')
        function = getattr(resolve_name(module), name)

        def maybe(*arguments, **settings):
            self.count += 1
            if self.count == self.number:
                raise OSError(errno.ENOSPC, 'No space left on device')
            return function(*arguments, **settings)
        return maybe

def remove_data(folder):
    "All but the parts."
    for file in [*folder.glob('data-*'), *folder.glob('*.json')]:
        file.unlink()

def must_stay(path):
    return 'parts' in path.parts or path.name == 'notes.txt'

@pytest.mark.parametrize('in_one_step', [True, False])
@pytest.mark.parametrize('first', [True, False])
def test_an_error_at_any_call_of_assembling_loses_nothing(prepared, tmp_path, first, in_one_step, monkeypatch):
    from ladmg import core
    from ladmg.core import LadmgError
    from ladmg.dataset import open_data
    home, about = prepared
    out = tmp_path/'data'
    shutil.copytree(home/'data', out)
    if first: # there are parts, but no data set yet
        remove_data(out)
    if not in_one_step:
        monkeypatch.setattr(core, 'ctypes', SimpleNamespace(CDLL=lambda name: None))
    found = snapshot(out)
    kept = {path: content for path, content in found.items() if must_stay(path)}
    failed = 0
    for number in range(1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, number)
            try:
                again(home, out, about)
            except LadmgError as error:
                assert 'disk is full' in str(error)
                failed += 1
        assert lost(kept, out) == [], number
        if first: # where the error could be passed over
            remove_data(out)
        else:
            assert len(open_data(out)[0]) == 3
        if failing.count < number:
            break
    assert failed > 8
    assert number < 999
    again(home, out, about)
    assert len(open_data(out)[0]) == 3
    assert (out/'notes.txt').read_text() == 'mine'
    assert [file.name for file in tmp_path.iterdir()] == ['data'] # nothing is left beside it

def test_a_full_disk_loses_nothing(prepared, tmp_path, monkeypatch):
    from ladmg import dataset
    from ladmg.core import LadmgError
    from ladmg.groovebox.machine import render_loop
    disk = tmp_path/'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip('no small file system can be mounted here')
    try:
        monkeypatch.setattr(dataset, 'worker_pool', threads)
        music = tmp_path/'music'
        shutil.copytree(prepared[0]/'music', music)
        assert dataset.prepare(music, disk/'data')['loops'] == 3
        (disk/'data'/'notes.txt').write_text('mine')
        render_loop(3, 150, bars=1).save(music/'3.wav')
        free = shutil.disk_usage(disk).free
        ballast = disk/'ballast'
        refused = 0
        for left in (0, 1, 8, 20, 40, 80): # kB
            ballast.write_bytes(bytes(free-1024*left))
            before = snapshot(disk/'data')
            try:
                dataset.prepare(music, disk/'data')
            except LadmgError as error:
                assert 'disk is full' in str(error), error
                refused += 1
                assert lost(before, disk/'data') == []
            assert len(dataset.open_data(disk/'data')[0]) >= 3
            ballast.unlink()
        assert refused > 1
        assert dataset.prepare(music, disk/'data')['loops'] == 4
        assert (disk/'data'/'notes.txt').read_text() == 'mine'
    finally:
        subprocess.run(['umount', '-l', disk], check=True)

# Locks

HOLD = '''
import sys
import time
from ladmg.core import at_work
with at_work(sys.argv[1], sys.argv[2]):
    print('working', flush=True)
    time.sleep(600)
'''

def environment():
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([root, os.environ.get('PYTHONPATH', '')])
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1', 'PYTHONPATH': path}

def start(command):
    "Start a process whose output is read and whose errors are not."
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return subprocess.Popen(command, **streams, env=environment())

def test_a_second_train_or_prepare_is_refused_and_a_stale_lock_taken_over(prepared, quick, tmp_path):
    data = tmp_path/'own data'
    shutil.copytree(prepared[0]/'data', data)
    prepare = f'prepare --clap none {prepared[0]/"music"}'
    commands = {'run': ('train DATA', tmp_path/'run'), 'data': (prepare, data)}
    for kind, (command, folder) in commands.items():
        other = start([sys.executable, '-c', HOLD, folder, kind])
        assert other.stdout.readline() == 'working\n'
        before = snapshot(folder)
        assert 'Another process is at work' in quick(command, folder)
        assert lost(before, folder) == []
        other.kill() # no time to give the lock back
        other.wait()
        assert quick(command, folder) == ''

# Signals

WORK = '''
import os
import sys
import time
from ladmg.workers import worker_pool
if __name__ == '__main__':
    with worker_pool(2) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(8)}
        jobs = [pool.submit(time.sleep, 600) for _ in range(4)]
        print('working', flush=True)
        jobs[0].result()
'''

def still_there(processes):
    alive = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except psutil.NoSuchProcess:
            pass
    return alive

def patience(seconds):
    "Seconds of a quiet machine, on one that has other things to do."
    return seconds*(1+2*os.getloadavg()[0]/os.cpu_count())

def gone_within(processes, seconds):
    start = time.monotonic()
    while still_there(processes):
        if time.monotonic()-start > patience(seconds):
            return False
        time.sleep(.02)
    return True

@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(number):
    "The signal goes to the parent alone."
    parent = start([sys.executable, '-c', WORK])
    assert parent.stdout.readline() == 'working\n'
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.send_signal(number)
    assert gone_within(workers, 2)
    parent.wait(patience(3))

def is_part(path):
    return path.suffix == '.arrow' and path.parent.name == 'parts'

def wait_for_a_part(folder, seconds):
    start = time.monotonic()
    while not [*folder.glob('*.arrow')]:
        assert time.monotonic()-start < seconds
        time.sleep(.05)

@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_prepare_ends_with_its_workers_and_keeps_its_parts(tmp_path, number):
    from ladmg.groovebox.machine import render_loop
    for s in range(40):
        render_loop(s, 150, bars=4).save(tmp_path/'music'/f'{s}.wav')
    command = [sys.executable, '-m', 'ladmg.cli', 'prepare', tmp_path/'music', tmp_path/'data', '--clap', 'none']
    silent = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parent = subprocess.Popen(command, **silent, env=environment())
    parts = tmp_path/'data'/'parts'
    wait_for_a_part(parts, 200)
    workers = psutil.Process(parent.pid).children(recursive=True)
    before = snapshot(parts)
    assert before
    assert workers
    parent.send_signal(number)
    assert gone_within(workers, 2)
    parent.wait(patience(3))
    finished = {path: content for path, content in before.items() if is_part(path)}
    assert lost(finished, tmp_path/'data') == []

# Kills at random moments

def in_a_fork(function):
    "Start a function in a copy of this process."
    child = os.fork()
    if not child:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return psutil.Process(child)

def is_finished(path):
    return path.name in ('state.json', 'config.json', 'checkpoint.safetensors') or is_part(path)

def items(folder): # finished things, which must not be lost
    found = set()
    for here, folders, files in os.walk(folder): # which passes over folders that vanish
        folders[:] = [name for name in folders if not name.endswith('.ladmg-tmp')]
        found |= {Path(here)/name for name in files}
    return {path for path in found if is_finished(path)}

class Repeated:
    "Do the work again and again, killed at random moments, and count what was lost."
    def __init__(self, home,
                 work, # folder → does it
                 result): # folder → what came of it
        self.home = home
        self.work = work
        self.result = result
        self.report = dict(kills=0, lost=0, left=0, unequal=0, finished=0, slowest=0.)
        start = time.monotonic()
        self.start(home/'unbroken').wait()
        self.seconds = time.monotonic()-start
        self.expected = result(home/'unbroken')

    def start(self, folder):
        return in_a_fork(functools.partial(self.work, folder))

    def run(self, kills, seed): # → the report
        "Until it was killed so often, and the last one is finished."
        random.seed(seed)
        while self.report['kills'] < kills or self.folder.exists():
            seconds = random.uniform(0, self.seconds) if self.report['kills'] < kills else math.inf
            self.attempt(self.folder, seconds)
            if sys.argv[-1] == 'verbose':
                print(self.report, flush=True)
        return self.report

    @property
    def folder(self):
        "A new one once the last one is finished."
        return self.home/str(self.report['finished'])

    def attempt(self, folder, seconds):
        before = items(folder) if folder.exists() else set()
        process = self.start(folder)
        late = time.monotonic()+seconds
        while still_there([process]) and time.monotonic() < late:
            before |= items(folder)
            time.sleep(.005)
        if still_there([process]):
            self.kill(process)
            self.report['lost'] += len(before-items(folder))
        else:
            assert process.wait() == 0
            self.report['finished'] += 1
            self.report['unequal'] += self.result(folder) != self.expected

    def kill(self, process):
        children = process.children(recursive=True)
        process.kill()
        killed = time.monotonic()
        self.report['kills'] += 1
        self.report['left'] += not gone_within(children, 2)
        took = round(time.monotonic()-killed, 2)
        self.report['slowest'] = max(self.report['slowest'], took)
        process.wait()

def kill_prepare(home, kills, seed):
    from ladmg.dataset import open_data, prepare
    from ladmg.groovebox.machine import render_loop
    music = home/'music'
    for s in range(4):
        render_loop(s, 150, bars=1).save(music/f'{s}.wav')

    def result(folder):
        data, about = open_data(folder)
        return data.to_dict(), about

    def work(folder):
        prepare(music, folder, workers=1 if kills < 10 else 2) # each imports PyTorch anew
    return Repeated(home, work, result).run(kills, seed)

def tensor_bytes(file): # → name → bytes
    from safetensors.torch import load_file
    return {name: value.numpy().tobytes() for name, value in load_file(file).items()}

def kill_train(home, kills, seed):
    import torch
    from ladmg.dataset import prepare
    from ladmg.groovebox.machine import render_loop
    from ladmg.training import train
    torch.set_num_threads(1)
    for s in range(4):
        render_loop(s, 150, bars=1).save(home/'music'/f'{s}.wav')
    in_a_fork(lambda: prepare(home/'music', home/'data', workers=1)).wait()

    def work(folder):
        settings = dict(steps=24, frames=200, valid_every=6, save_seconds=.5, device='cpu', warmup=2)
        deque(train(home/'data', folder, **settings), 0)

    def result(folder):
        checkpoint = tensor_bytes(folder/'checkpoint.safetensors')
        model = tensor_bytes(folder/'model/model.safetensors')
        config = (folder/'model/config.json').read_text()
        return checkpoint, model, config
    return Repeated(home, work, result).run(kills, seed)

def kills(what, number, seed, home):
    command = [sys.executable, __file__, what, str(number), str(seed), str(home)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stdout+done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report['kills'] >= number, report
    assert report['finished'], report
    assert not report['lost'], report
    assert not report['left'], report
    assert not report['unequal'], report

KILLS = [
    pytest.param('prepare', 2, marks=pytest.mark.slow),
    pytest.param('prepare', 12, marks=pytest.mark.slow),
    pytest.param('train', 12, marks=pytest.mark.slow),
]

@pytest.mark.parametrize('what, number', KILLS)
def test_kills_at_random_moments_lose_nothing(what, number, tmp_path):
    kills(what, number, 0, tmp_path)

if __name__ == '__main__':
    what, number, seed, home = sys.argv[1:5]
    found = {'prepare': kill_prepare, 'train': kill_train}[what](Path(home), int(number), int(seed))
    print(json.dumps(found))
