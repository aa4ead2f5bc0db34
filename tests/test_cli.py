"The command line has the defaults of the functions behind it; the package imports nothing until it is asked."
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
import pytest
from nbdev.config import get_config, update_version
from typer.testing import CliRunner
from ladmg import cli

COMMANDS = [
    'synth', 'prepare', 'train-codec', 'train-clap', 'train',
    'generate', 'morph', 'stretch', 'vary', 'accompany', 'sequence', 'mix',
    'evaluate', 'app', 'words',
]

@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(cli.app, [command, '--help'])
    assert result.exit_code == 0 and 'Options' in result.output

BEHIND = [
    ('train_codec', 'codec.training'),
    ('train_clap', 'clap.training'),
    ('train', 'training'),
    ('morph', 'interpolation'),
    ('vary', 'variation'),
    ('accompany', 'accompaniment'),
    ('mix', 'transition'),
    ('evaluate', 'results'),
    ('synth', 'dataset'),
]

def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}

@pytest.mark.parametrize('name, module', BEHIND)
def test_a_command_has_the_defaults_of_its_function(name, module):
    asked = defaults(getattr(cli, name))
    behind = defaults(getattr(import_module(f'ladmg.{module}'), name))
    for both in asked.keys() & behind.keys():
        assert str(asked[both]) == str(behind[both]), both

def test_generate_has_the_defaults_of_the_pipeline():
    from ladmg.pipeline import LoopPipeline
    asked = defaults(cli.generate)
    behind = defaults(LoopPipeline.__call__)
    shared = asked.keys() & behind.keys()
    assert len(shared) >= 6 and all(asked[name] == behind[name] for name in shared)

def python(code):
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

IMPORTED = '''
import sys
import ladmg
import ladmg.cli
import ladmg.workers
heavy = {'torch', 'numpy', 'datasets'}
print(sorted(heavy & sys.modules.keys()), ladmg.__version__ != '', *dir(ladmg))
'''

def test_the_front_door_is_lazy():
    printed = python(IMPORTED)
    assert printed.startswith('[] True')
    assert 'LoopPipeline' in printed

def test_the_front_door_opens():
    import ladmg
    names = ['Clap', 'Codec', 'Loop', 'LoopPipeline', 'evaluate', 'prepare', 'render_loop', 'render_stems', 'train']
    for name in names:
        assert getattr(ladmg, name).__name__ == name
    unknown = 'no_such_thing'
    with pytest.raises(AttributeError, match='no attribute'):
        getattr(ladmg, unknown)

def with_version(source, version):
    return re.sub('__version__ = .*', f'__version__ = "{version}"', source)

def test_an_export_keeps_the_front_door(tmp_path):
    "nbdev writes the version into `__init__.py` at every export, and nothing else."
    import ladmg
    before = Path(ladmg.__file__).read_text()
    copy = tmp_path/'__init__.py'
    copy.write_text(with_version(before, '0'))
    update_version(tmp_path)
    assert copy.read_text() == with_version(before, get_config().version)

def test_words_lists_what_can_be_asked_for():
    result = CliRunner().invoke(cli.app, ['words'])
    assert result.exit_code == 0 and 'off-beat hats' in result.output and 'drum loop' in result.output
    result = CliRunner().invoke(cli.app, ['words', 'only a kick and a violin'])
    assert result.output == 'known: only, a, kick, and\nunknown: violin\n'
