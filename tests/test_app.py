"The explorer with a stand-in for a pipeline, which takes words and whose steps take their time."
import re
import time
from types import SimpleNamespace
import pytest
from fastcore.test import test_eq as eq
from ladmg.app import LoopExplorer, app_notebook, takes_text
from ladmg.core import LadmgError
from ladmg.groovebox.machine import render_loop
from ladmg.pipeline import GUIDANCE_SCALE
from ladmg.widgets import wav_bytes

class FakePipeline:
    "A pipeline as the explorer sees one."
    def __init__(self, **config):
        self.net = SimpleNamespace(config=config)
        self.codec = SimpleNamespace(stems=['drums', 'bass', 'synth'])

    def __call__(self, prompt='', negative_prompt='', bpm=126, bars=4, seed=0, steps=16, solver='ab2',
                 guidance_scale=1., audio=None, key='', pattern=None, stems=None, callback=None):
        if prompt == 'silence':
            raise LadmgError('There is nothing to hear in silence: ask for something else.')
        if prompt == 'crash':
            raise ZeroDivisionError('as asked')
        for step in range(1, steps+1):
            time.sleep(.01)
            if callback(step, steps, None) is False:
                raise LadmgError(f'Stopped after step {step} of {steps}, as asked.')
        return [render_loop(seed, bpm=bpm, bars=bars)]

TEXT_CONTROLS = {'prompt', 'negative_prompt', 'audio'}

@pytest.fixture
def explorer():
    "One that asks for short loops in one step."
    explorer = LoopExplorer(FakePipeline(rhythm=4, embedding=512, pattern=4, key=24, stems=3), keep=2)
    explorer.controls['steps'].value = 1
    explorer.controls['bars'].value = 1
    return explorer

def generate(explorer, prompt=''):
    explorer.controls['prompt'].value = prompt
    explorer.generate().join()

def test_there_is_a_control_for_what_the_network_was_trained_with(explorer):
    assert TEXT_CONTROLS | {'key', 'pattern', 'stems'} <= explorer.controls.keys()
    eq(list(explorer.guidance), ['rhythm', 'embedding', 'pattern'])

def test_there_is_none_for_what_it_was_not():
    pipe = FakePipeline(rhythm=4, embedding=0)
    assert not takes_text(pipe)
    explorer = LoopExplorer(pipe)
    eq(list(explorer.controls), ['bpm', 'bars', 'steps', 'solver'])
    eq(list(explorer.guidance), ['rhythm'])

def test_every_control_has_a_label_and_a_hint(explorer):
    controls = [*explorer.guidance.values(), *explorer.controls.values()]
    for control in controls:
        if hasattr(control, 'description'):
            assert control.description
            assert control.tooltip
    assert explorer.controls['pattern'].hint

def test_untouched_it_guides_as_the_pipeline_does(explorer):
    eq(explorer.settings['guidance_scale'], GUIDANCE_SCALE)

def test_key_pattern_and_sound_are_settings(explorer):
    explorer.controls['key'].value = 'A minor'
    explorer.controls['pattern'].value = {'kick': 'x...x...x...x...'}
    sound = wav_bytes(render_loop(0, bpm=126, bars=1))
    explorer.controls['audio'].load([{'content': memoryview(sound)}])
    settings = explorer.settings
    eq(settings['key'], 'A minor')
    eq(settings['pattern'], {'kick': 'x...x...x...x...'})
    eq(settings['audio'].bpm, 126)
    explorer.controls['audio'].clear.click()
    eq(explorer.settings['audio'], None)

def test_stems_are_all_left_open_or_chosen(explorer):
    eq(explorer.settings['stems'], None)
    stems = explorer.controls['stems']
    stems.toggles['bass'].value = True
    eq(explorer.settings['stems'], ['bass'])
    stems.value = ['drums', 'synth']
    eq(stems.value, ['drums', 'synth'])
    stems.value = None
    eq(stems.value, None)

def test_an_upload_of_ipywidgets_7(explorer):
    sound = explorer.controls['audio']
    sound.load({'notes.txt': {'content': b'words'}})
    assert sound.status.value.startswith('This file')
    eq(sound.value, None)

def test_cancel_stops_between_two_steps(explorer):
    explorer.controls['steps'].value = 64
    thread = explorer.generate()
    assert explorer.generate_button.disabled
    assert not explorer.cancel_button.disabled
    assert explorer.generate() is thread, 'one at a time'
    while not explorer.progress.value:
        time.sleep(.01)
    explorer.cancel_button.click()
    thread.join()
    assert re.search('Stopped after step .+ of 64, as asked', explorer.status.value)
    assert 'alert' not in explorer.status.value, 'it is what was asked for'
    assert not explorer.generate_button.disabled
    assert explorer.cancel_button.disabled
    eq(explorer.takes, [])
    eq(explorer.player.wav, b'')

@pytest.mark.parametrize('prompt, says', [
    ('silence', 'nothing to hear'),
    ('crash', 'ZeroDivisionError: as asked'),
])
def test_an_error_is_a_sentence(explorer, prompt, says):
    generate(explorer, prompt)
    assert says in explorer.status.value
    assert 'alert' in explorer.status.value
    assert not explorer.generate_button.disabled

def test_a_dice_leaves_the_lock_as_it_is(explorer):
    for locked in (False, True):
        explorer.lock.value = locked
        explorer.dice.click()
        eq(explorer.lock.value, locked)

def test_a_typed_seed_is_kept_and_no_other(explorer):
    explorer.seed.value = 7
    generate(explorer)
    eq(explorer.takes[0].settings['seed'], 7)
    explorer.lock.value = False
    generate(explorer)
    assert explorer.takes[1].settings['seed'] != 7 and not explorer.lock.value

def test_only_a_take_with_a_star_outlives_its_turn(explorer):
    generate(explorer, '<b>')
    assert explorer.takes[0].row.play.description.endswith(' · <b>')
    explorer.takes[0].row.star.value = True
    for _ in range(3):
        generate(explorer)
    eq([take.number for take in explorer.takes], [1, 4])
    eq([row.play.description[0] for row in explorer.take_list.children], ['4', '1'])

def test_restore_turns_every_control(explorer):
    explorer.guidance['embedding'].value = 3
    generate(explorer, 'acid')
    take, = explorer.takes
    explorer.guidance['embedding'].value = 5
    explorer.controls['bpm'].value = 140
    generate(explorer, 'dub')
    take.row.restore.click()
    eq(explorer.settings, take.settings)
    assert explorer.lock.value
    take.row.play.click()
    eq(explorer.player.wav, wav_bytes(take.loop))
    eq([take.row.play.button_style for take in explorer.takes], ['info', ''])

def test_a_tempo_measured_is_said(explorer):
    generate(explorer)
    assert '126 BPM asked' in explorer.status.value

def test_the_page_is_python_and_finds_a_folder(tmp_path):
    source = app_notebook(tmp_path)['cells'][0]['source']
    compile(source, 'app', 'exec')
    assert repr(str(tmp_path.resolve())) in source
    assert "'a/name', None" in app_notebook('a/name')['cells'][0]['source']

def test_words_are_looked_up_as_they_are_typed(explorer):
    prompt = explorer.controls['prompt']
    [settings, *_] = explorer.children
    line = settings.children[list(settings.children).index(prompt)+2] # after both texts
    prompt.value = 'techno with a <violin>'
    assert 'Known: techno' in line.value
    assert 'Not known: violin' in line.value
    prompt.value = ''
    eq(line.value, '')
