"Widgets without a browser: their scripts, and the state that the scripts see."
import io
import re
import shutil
import subprocess
import PIL.Image
import pytest
import traitlets
from fastcore.test import test_eq as eq
from ladmg.core import LadmgError
from ladmg.groovebox.machine import render_loop
from ladmg.widgets import STATIC, LoopPlayer, MorphPad, StepGrid

SCRIPTS = sorted(STATIC.glob('*.js'))
NODE = shutil.which('node')

def node(source, *args):
    "Run node on a module that is given as text."
    command = [NODE, '--input-type=module', *args]
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

@pytest.mark.skipif(not NODE, reason='there is no node to read JavaScript with')
@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_javascript(script):
    node(script.read_text(encoding='utf-8'), '--check')

@pytest.mark.skipif(not NODE, reason='there is no node to read JavaScript with')
@pytest.mark.parametrize('script', [s for s in SCRIPTS if s.name != 'page.js'], ids=lambda s: s.name)
def test_a_script_draws_a_widget(script):
    source = script.read_text(encoding='utf-8')
    source = source.replace('export default', 'const widget =')
    eq(node(source+'\nconsole.log(Object.keys(widget), typeof widget.render);'), "[ 'render' ] function\n")

@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_readable(script):
    lines = script.read_text(encoding='utf-8').splitlines()
    assert lines[0].startswith('// '), 'says first what it does'
    assert max(map(len, lines)) <= 120
    for line in lines:
        assert '; ' not in line or line.strip().startswith(('for (', '//')) or '; //' in line, line
        assert '\t' not in line and line == line.rstrip()

def test_the_style_sheet_is_balanced():
    sheet = (STATIC/'widgets.css').read_text(encoding='utf-8')
    rules = re.sub(r'/\*.*?\*/', '', sheet, flags=re.S)
    eq(rules.count('{'), rules.count('}'))
    for line in rules.splitlines():
        assert line.count(';') <= 1, line
        if line.startswith('  ') and ':' in line and '{' not in line:
            assert line.endswith(';'), line

def test_every_class_of_the_scripts_has_a_style():
    sheet = (STATIC/'widgets.css').read_text(encoding='utf-8')
    for script in SCRIPTS:
        for name in re.findall(r'ladmg-\w+', script.read_text(encoding='utf-8')):
            assert f'.{name}' in sheet

def test_a_player_without_a_loop_is_empty():
    eq(LoopPlayer().wav, b'')

def test_the_picture_is_a_png():
    player = LoopPlayer(render_loop(0, bpm=126, bars=1))
    eq(PIL.Image.open(io.BytesIO(player.mel)).height, 96)
    eq(player.wav[:4], b'RIFF')

def test_a_page_cannot_be_ended_by_a_name():
    page = MorphPad(corners=['</script>', 'b', 'c', 'd']).page()
    eq(page.count('</script>'), 1)

@pytest.mark.parametrize('steps', ([1]*15, [2]*16))
def test_a_grid_refuses(steps):
    grid = StepGrid(['kick'])
    with pytest.raises(LadmgError, match='16 steps'):
        grid.grid = {'kick': steps}
    eq(grid.grid, {'kick': [0]*16})

def test_a_pad_ends_at_its_edges():
    pad = MorphPad()
    with pytest.raises(traitlets.TraitError):
        pad.x = 1.5
