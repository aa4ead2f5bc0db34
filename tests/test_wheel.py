"The package as a stranger gets it: a wheel, in an environment where the checkout cannot be imported."
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
FILES = ['settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE']

def run(*args, **options):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run([*map(str, args)], capture_output=True, text=True, env=env, **options)
    assert done.returncode == 0, (done.stdout+done.stderr)[-6000:]
    return done.stdout

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "Build from a copy, so that nothing left over in the checkout gets in."
    folder = tmp_path_factory.mktemp('wheel')
    source = folder/'source'
    shutil.copytree(ROOT/'ladmg', source/'ladmg', ignore=shutil.ignore_patterns('__pycache__'))
    for name in FILES:
        shutil.copy(ROOT/name, source)
    pip = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation']
    run(*pip, '--wheel-dir', folder, source)
    return next(folder.glob('*.whl'))

@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}
    files = [p for p in (ROOT/'ladmg').rglob('*') if p.is_file() and '__pycache__' not in p.parts]
    assert packed == {p.relative_to(ROOT).as_posix() for p in files}

@pytest.mark.slow
def test_the_wheel_generates_a_loop(wheel, tmp_path):
    """Install the wheel alone into a new environment that borrows what it requires, by a path file, from this one.

    That what the wheel declares is enough shows in `make demo`, which installs it into an empty environment."""
    environment = tmp_path/'venv'
    run(sys.executable, '-m', 'venv', '--without-pip', environment)
    python = environment/'bin'/'python'
    site = Path(run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip())
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index', wheel)
    # path files in there, of editable installs, are not followed
    (site/'borrowed.pth').write_text(sysconfig.get_path('purelib')+'\n')
    imported = Path(run(python, '-c', 'import ladmg; print(ladmg.__file__)', cwd=tmp_path).strip())
    assert imported.is_relative_to(site)
    loop = ['generate', '--bpm', 126, '--bars', 1, '--seed', 0, '--out', 'x.wav']
    run(environment/'bin'/'ladmg', *loop, cwd=tmp_path)
    info = soundfile.info(tmp_path/'x.wav')
    assert info.frames == round(info.samplerate*240/126)
