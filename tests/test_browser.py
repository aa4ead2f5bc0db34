"The explorer, the widgets and the site in a real browser (Debian: `apt-get install chromium`)."
import functools
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
import pytest
from ladmg.audio import Loop, loop_samples

sync_api = pytest.importorskip('playwright.sync_api')
pytest.importorskip('voila')

NAMES = 'chromium', 'chromium-browser', 'google-chrome'
CHROME = os.environ.get('CHROME') or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROME, reason='there is no Chromium: install it, or set CHROME to its path')]

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT/'_docs'
SHOTS = os.environ.get('LADMG_SHOTS') # a folder, to look at what the tests have seen
OPTIONS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--autoplay-policy=no-user-gesture-required']

def script(name):
    return (ROOT/'tests'/'browser'/name).read_text(encoding='utf-8')

# A server, a browser, and what to do with them

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def can_connect(address, port):
    try:
        socket.create_connection((address, port), 1).close()
        return True
    except OSError:
        return False

def start_server(command, log, port):
    "Start `python -c` with a command, and wait until something answers at the port."
    command = [sys.executable, '-c', *map(str, command)]
    env = {**os.environ, 'IN_TEST': '1'}
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=env)
    for _ in range(480):
        if can_connect('127.0.0.1', port):
            return process
        assert process.poll() is None, Path(log.name).read_text()
        time.sleep(.25)
    pytest.fail('the server does not answer')

@pytest.fixture
def serve(tmp_path):
    "Serve until the test is over: serve(python code, arguments) → port."
    running = []
    def start(*command):
        port = free_port()
        log = open(tmp_path/'log.txt', 'w')
        running.append(start_server([*command, f'--port={port}'], log, port))
        return port
    yield start
    for process in running:
        process.terminate()
        process.wait(60)

@pytest.fixture
def page():
    "An empty page, whose errors are in `page.wrong`."
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROME, args=OPTIONS)
        page = browser.new_page(viewport={'width': 1280, 'height': 900})
        page.add_init_script(script('listen.js'))
        page.set_default_timeout(300_000)
        page.wrong = []
        page.on('pageerror', lambda error: page.wrong.append(str(error)))
        yield page
        browser.close()

def look(page, name):
    "Nothing overlaps or is cut off, on a desk and on a phone."
    for width, height in ((400, 800), (1280, 900)):
        page.set_viewport_size({'width': width, 'height': height})
        page.wait_for_timeout(300)
        assert page.evaluate(script('overlaps.js')) == []
        assert page.get_by_text('javascript error').count() == 0, 'a widget cannot be drawn'
        if SHOTS:
            page.screenshot(path=f'{SHOTS}/{name}_{width}.png', full_page=True)

def button(page, name):
    return page.get_by_role('button', name=name, exact=True)

def slider(page, n):
    return page.locator('.noUi-handle').nth(n)

def menu(page):
    "The first one: bars."
    return page.locator('select').first

def seed(page):
    return page.locator('input[type=number]')

# The explorer, as `ladmg app` serves it

def set_bpm(page, bpm):
    handle = slider(page, 0)
    handle.focus()
    for _ in range(40): # a busy machine may miss a key
        if float(handle.get_attribute('aria-valuenow')) >= bpm:
            return
        page.keyboard.press('ArrowRight')
        page.wait_for_timeout(100)

def wait_for_seed(page, condition, seed):
    javascript = f's => document.querySelector("input[type=number]").value {condition} s'
    page.wait_for_function(javascript, arg=seed)

def status(page):
    "What the page says when it has nothing more to do."
    sync_api.expect(button(page, 'Generate')).to_be_enabled(timeout=60_000)
    return page.locator('[role=status]').inner_text()

def last_sound(page):
    return page.evaluate('heard.at(-1)')

def wait_until_loud(page):
    page.wait_for_function('level() > .01')

@pytest.fixture
def explorer(serve, page):
    port = serve('from ladmg.cli import main; main()', 'app', '--no-browser')
    assert not can_connect('127.0.0.2', port), 'this machine, but not the loopback address that serves'
    page.goto(f'http://127.0.0.1:{port}/')
    button(page, 'Generate').wait_for()
    assert 'LoopPipeline' not in page.content()
    yield page
    assert not page.wrong

def test_explorer(explorer, tmp_path):
    page = explorer
    first = make_a_loop(page)
    sound = hear_another_in_its_place(page)
    look(page, 'explorer')
    cancel_a_long_one(page)
    restore_the_first(page, first, sound)
    save_it(page, first, tmp_path/'saved.wav')
    wait_for_sound(page)

def make_a_loop(page): # → its seed
    set_bpm(page, 128)
    menu(page).select_option('2')
    button(page, 'Generate').click()
    page.get_by_text(re.compile('^1 · 128 BPM · 2 bars')).wait_for()
    measured = re.search(r'BPM asked, ([\d.]+) measured', status(page))
    assert abs(float(measured[1])-128) <= 1
    return seed(page).input_value()

def hear_another_in_its_place(page): # → the fingerprint of the first one
    button(page, 'Play').click()
    wait_until_loud(page)
    button(page, 'Generate').click() # a new sound comes in while the old one plays
    page.get_by_text(re.compile('^2 · 128 BPM')).wait_for()
    page.wait_for_function('heard.length == 2')
    a, b = page.evaluate('heard')
    assert abs(a['seconds']-2*240/128) < 1e-3
    assert abs(b['seconds']-a['seconds']) < 1e-6
    assert a['loop'] and b['loop']
    assert a['sound'] != b['sound']
    wait_until_loud(page)
    return a['sound']

def cancel_a_long_one(page):
    menu(page).select_option('16')
    slider(page, 1).focus()
    page.keyboard.press('End') # 64 steps
    button(page, 'Generate').click()
    page.wait_for_function('!document.querySelector("button[title^=Stop]").disabled')
    rolled = seed(page).input_value()
    button(page, 'dice').click() # the page answers meanwhile
    wait_for_seed(page, '!=', rolled)
    assert button(page, 'Cancel').is_enabled()
    button(page, 'Cancel').click()
    page.get_by_text(re.compile(r'Stopped after step \d+ of 64')).wait_for()
    assert page.get_by_text(re.compile('^3 ·')).count() == 0
    assert button(page, 'Generate').is_enabled()

def restore_the_first(page, first, sound):
    button(page, 'restore').last.click()
    wait_for_seed(page, '==', first)
    page.wait_for_function('document.querySelector("select").value == 2')
    page.get_by_text(re.compile('^1 · 128 BPM')).click()
    page.wait_for_function('sound => heard.at(-1).sound == sound', arg=sound)

def save_it(page, first, path):
    with page.expect_download() as file:
        page.get_by_text('Save WAV').click()
    assert file.value.suggested_filename == f'ladmg_128bpm_seed{first}.wav'
    file.value.save_as(path)
    loop = Loop.load(path)
    assert (loop.bpm, loop.bars) == (128, 2)
    assert loop.waveform.shape[1] == loop_samples(128, 2, 48_000)
    assert loop.recipe['seed'] == int(first)

def wait_for_sound(page):
    "From the click to the sound of four bars it takes little longer than the page says that it took to make them."
    menu(page).select_option('4')
    took = [(seconds_to_sound(page), seconds_said(page)) for _ in range(3)]
    print('seconds to the sound, seconds said:', took)
    assert abs(last_sound(page)['seconds']-4*240/128) < 1e-3
    assert min(heard-1.5*said for heard, said in took) < 3, took

def seconds_to_sound(page):
    button(page, 'dice').click()
    before = page.evaluate('heard.length')
    start = time.perf_counter()
    button(page, 'Generate').click()
    page.wait_for_function('before => heard.length > before', arg=before)
    return time.perf_counter()-start

def seconds_said(page):
    return float(re.search(r'of sound in ([\d.]+) s', status(page))[1])

# Words, errors, grid and pad

@pytest.fixture
def bench(serve, page, tmp_path):
    source = script('bench.py')
    cell = dict(cell_type='code', id='bench', metadata={}, execution_count=None, outputs=[], source=source)
    kernel = dict(name='python3', display_name='', language='python')
    notebook = dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)
    path = tmp_path/'bench.ipynb'
    path.write_text(json.dumps(notebook))
    port = serve('from voila.app import main; main()', path, '--no-browser', '--Voila.ip=127.0.0.1')
    page.goto(f'http://127.0.0.1:{port}/')
    yield page
    assert not page.wrong

def test_words_an_error_a_grid_and_a_pad(bench):
    page = bench
    ask_for_silence(page)
    walk_the_grid(page)
    drag_the_pad(page)
    look(page, 'bench')

def ask_for_silence(page):
    page.get_by_placeholder('dub techno').fill('Silence')
    page.get_by_placeholder('open hats').fill('noise')
    page.keyboard.press('Tab')
    button(page, 'Generate').click()
    page.get_by_role('alert').wait_for()
    said = page.get_by_role('alert').inner_text()
    assert said == 'Silence but not noise cannot be played: ask for music.'
    assert 'Traceback' not in page.content()
    assert button(page, 'Generate').is_enabled()

def walk_the_grid(page):
    button(page, 'kick, step 1').click()
    for key in ('ArrowRight', 'ArrowRight', 'ArrowDown', ' '):
        page.keyboard.press(key)
    page.get_by_text('kick 1000000000000000 hat 0010000000000000 at 0.50 0.50').wait_for()
    assert button(page, 'hat, step 3').get_attribute('aria-pressed') == 'true'

def drag_the_pad(page):
    box = page.get_by_role('slider', name='Morph pad').bounding_box()
    page.mouse.move(box['x']+box['width']/2, box['y']+box['height']/2)
    page.mouse.down()
    page.mouse.move(box['x']+box['width']*.25, box['y']+box['height']*2) # past the edge
    page.mouse.up()
    page.get_by_text('at 0.25 1.00').wait_for()
    page.keyboard.press('ArrowUp')
    page.keyboard.press('ArrowLeft')
    page.get_by_text('at 0.20 0.95').wait_for()

# The site

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

@pytest.fixture(scope='module')
def site():
    "The site in `_docs`, built if it is not there, without a network to go to."
    if not (SITE/'index.html').exists():
        subprocess.run([sys.executable, 'tools/docs.py', 'site'], cwd=ROOT, check=True)
    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()

@pytest.fixture
def visitor(site, page):
    "A page on which any error and any request to elsewhere is wrong."
    def note_error(message):
        if message.type == 'error':
            page.wrong.append(message.text)
    def note_request(request):
        if not request.url.startswith((site, 'data:', 'blob:')):
            page.wrong.append(request.url)
    page.on('console', note_error)
    page.on('request', note_request)
    yield page
    assert not page.wrong

def test_the_front_page_sounds_and_finds(visitor, site):
    page = visitor
    page.goto(f'{site}/index.html')
    look_at_site(page, 'site_front')
    page.evaluate('document.querySelector("audio").play()')
    page.wait_for_function('document.querySelector("audio").currentTime > .2')
    page.get_by_role('searchbox').fill('groovebox')
    result = page.locator('.smalldocs-search-results a').first
    result.wait_for()
    result.click()
    page.wait_for_url(re.compile('groovebox'))

def test_every_sound_of_the_site_can_be_played(visitor, site):
    page = visitor
    for path in sorted(SITE.rglob('*.html')):
        page.goto(f'{site}/{path.relative_to(SITE).as_posix()}')
        broken = page.evaluate(script('broken_sounds.js'))
        assert not broken, f'{path.name}: {broken} sounds cannot be played'

def test_the_site_has_formulas(visitor, site):
    page = visitor
    page.goto(f'{site}/blending.html')
    assert page.locator('math').count() > 3
    look_at_site(page, 'site_blending')

def test_the_site_has_widgets_in_the_state_that_they_were_saved_in(visitor, site):
    page = visitor
    page.goto(f'{site}/widgets.html')
    button(page, 'Play').first.click()
    wait_until_loud(page)
    sound = last_sound(page)
    assert sound['loop']
    assert abs(sound['seconds']-2*240/126) < 1e-3
    step = button(page, 'kick, step 2')
    before = step.get_attribute('aria-pressed')
    step.click()
    assert step.get_attribute('aria-pressed') != before
    look_at_site(page, 'site_widgets')

def look_at_site(page, name):
    "It fits a phone and a desk, and follows the reader's choice of light or dark."
    for scheme, width in (('dark', 400), ('light', 1280)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({'width': width, 'height': 900})
        page.wait_for_timeout(300)
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), name
        background = page.evaluate('getComputedStyle(document.body).backgroundColor')
        red_green_blue = [int(number) for number in re.findall(r'\d+', background)[:3]]
        is_dark = max(red_green_blue) < 100
        assert is_dark == (scheme == 'dark'), background
        if SHOTS:
            page.screenshot(path=f'{SHOTS}/{name}_{width}.png', full_page=True)
