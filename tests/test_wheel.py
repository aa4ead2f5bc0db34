"The package as a stranger gets it: a wheel, in an environment where the checkout cannot be imported."
import os, shutil, subprocess, sys, sysconfig, zipfile
from pathlib import Path
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
SOURCES = 'ladmg', 'settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE'

def run(*args, **kw):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    r = subprocess.run([*map(str, args)], capture_output=True, text=True, env=env, **kw)
    assert r.returncode == 0, (r.stdout+r.stderr)[-6000:]
    return r.stdout

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "Built from a copy, so that nothing left over in the checkout gets in."
    d = tmp_path_factory.mktemp('wheel')
    for s in SOURCES:
        if (ROOT/s).is_dir(): shutil.copytree(ROOT/s, d/'src'/s, ignore=shutil.ignore_patterns('__pycache__'))
        else: (d/'src').mkdir(exist_ok=True); shutil.copy(ROOT/s, d/'src')
    run(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', d, d/'src')
    return next(d.glob('*.whl'))

@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in n}
    assert packed == {p.relative_to(ROOT).as_posix() for p in (ROOT/'ladmg').rglob('*') if p.is_file() and '__pycache__' not in p.parts}

@pytest.mark.slow
def test_the_wheel_generates_a_loop(wheel, tmp_path):
    """The new environment holds the wheel alone and borrows only what it requires, read from this one by a path file. That what the
    wheel declares is enough shows in `make demo`, which installs it with its requirements into an empty environment."""
    run(sys.executable, '-m', 'venv', '--without-pip', tmp_path/'venv')
    python = tmp_path/'venv'/'bin'/'python'
    site = Path(run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip())
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index', wheel)
    (site/'borrowed.pth').write_text(sysconfig.get_path('purelib')+'\n') # path files in there, of editable installs, are not followed
    assert Path(run(python, '-c', 'import ladmg; print(ladmg.__file__)', cwd=tmp_path).strip()).is_relative_to(site)
    run(tmp_path/'venv'/'bin'/'ladmg', 'generate', '--bpm', 126, '--bars', 1, '--seed', 0, '--out', 'x.wav', cwd=tmp_path)
    info = soundfile.info(tmp_path/'x.wav')
    assert info.frames == round(info.samplerate*240/126)
