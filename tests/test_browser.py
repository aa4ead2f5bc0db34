"The explorer, the grid, the pad and the site as a person meets them: in a real browser (Debian: `apt-get install chromium`)."
import functools, http.server, json, os, re, shutil, socket, subprocess, sys, threading, time
from pathlib import Path
import pytest
from ladmg.audio import Loop, loop_samples

sync_api, _ = pytest.importorskip('playwright.sync_api'), pytest.importorskip('voila')
CHROME = os.environ.get('CHROME') or next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(not CHROME, reason='there is no Chromium: install it, or set CHROME to its path')

ROOT = Path(__file__).resolve().parent.parent
SHOTS = os.environ.get('LADMG_SHOTS') # a folder, to look at what the tests have seen
ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required']
LISTEN = ''' // note each buffer that starts, and how loud it sounds
  window.heard = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function(...args) {
    const x = this.buffer.getChannelData(0);
    heard.push({seconds: this.buffer.duration, loop: this.loop, sound: x.reduce((s, v, i) => s + v * v * (1 + i % 97), 0)});
    window.tap = new AnalyserNode(this.context); this.connect(tap);
    return start.apply(this, args);
  };
  window.level = () => { const x = new Float32Array(2048); tap.getFloatTimeDomainData(x); return Math.max(...x); };
'''
OVERLAPS = '''() => {
  const shown = [...document.querySelectorAll('button, select, input, canvas, .noUi-target')].filter(e => e.checkVisibility()).map(e => [e, e.getBoundingClientRect()]);
  const over = ([e, a], [f, b]) => !e.contains(f) && !f.contains(e) && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const found = shown.flatMap((p, i) => shown.slice(i + 1).filter(q => over(p, q)).map(q => p[0].outerHTML.slice(0, 80) + ' and ' + q[0].outerHTML.slice(0, 80)));
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than the window');
  return found;
}'''

def serve(cmd, log, port):
    p = subprocess.Popen([sys.executable, '-c', *map(str, cmd)], cwd=ROOT, stdout=log, stderr=log, env={**os.environ, 'IN_TEST': '1'})
    for _ in range(480):
        try: socket.create_connection(('127.0.0.1', port), 1).close(); return p
        except OSError: assert p.poll() is None, Path(log.name).read_text()
        time.sleep(.25)

@pytest.fixture
def at(tmp_path):
    "Serves until the test is over: at(python code, arguments) → address."
    running = []
    def start(*cmd):
        with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
        running.append(serve([*cmd, f'--port={port}'], open(tmp_path/'log.txt', 'w'), port))
        return port
    yield start
    for p in running: p.terminate(); p.wait(20)

@pytest.fixture
def page():
    with sync_api.sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=CHROME, args=ARGS)
        page = browser.new_page(viewport={'width': 1280, 'height': 900})
        page.add_init_script(LISTEN)
        page.set_default_timeout(300_000)
        page.wrong = []
        page.on('pageerror', lambda e: page.wrong.append(str(e)))
        yield page
        browser.close()

def look(page, name):
    "Nothing overlaps or is cut off, on a desk and on a phone."
    for width, height in ((400, 800), (1280, 900)):
        page.set_viewport_size({'width': width, 'height': height}); page.wait_for_timeout(300)
        assert page.evaluate(OVERLAPS) == []
        if SHOTS: page.screenshot(path=f'{SHOTS}/{name}_{width}.png', full_page=True)

def button(page, name): return page.get_by_role('button', name=name, exact=True)

def test_explorer(at, page, tmp_path):
    port = at('from ladmg.cli import main; main()', 'app', '--no-browser')
    with pytest.raises(OSError): socket.create_connection(('127.0.0.2', port), 1) # this machine, but not the loopback address that serves
    page.goto(f'http://127.0.0.1:{port}/')
    button(page, 'Generate').wait_for()
    assert 'LoopPipeline' not in page.content()
    bpm, seed = page.locator('.noUi-handle').first, page.locator('input[type=number]')
    bpm.focus()
    for _ in range(40):                                            # a busy machine may miss a key
        if float(bpm.get_attribute('aria-valuenow')) >= 128: break
        page.keyboard.press('ArrowRight'); page.wait_for_timeout(100)
    page.locator('select').first.select_option('2')
    button(page, 'Generate').click()
    page.get_by_text(re.compile('^1 · 128 BPM · 2 bars')).wait_for()
    heard = re.search(r'BPM asked, ([\d.]+) measured', page.locator('[role=status]').inner_text())
    assert abs(float(heard[1])-128) <= 1
    first = seed.input_value()

    button(page, 'Play').click()
    page.wait_for_function('level() > .01')
    button(page, 'Generate').click()                               # a new sound comes in while the old one plays
    page.get_by_text(re.compile('^2 · 128 BPM')).wait_for()
    page.wait_for_function('heard.length == 2')
    a, b = page.evaluate('heard')
    assert abs(a['seconds']-2*240/128) < 1e-3 and abs(b['seconds']-a['seconds']) < 1e-6 and a['loop'] and b['loop'] and a['sound'] != b['sound']
    page.wait_for_function('level() > .01')
    look(page, 'explorer')

    page.locator('select').first.select_option('16')
    page.locator('.noUi-handle').nth(1).focus(); page.keyboard.press('End') # 64 steps
    button(page, 'Generate').click()
    page.wait_for_function('document.querySelector(".progress-bar, .jupyter-widget-progress, [role=progressbar]") && !document.querySelector("button[title^=Stop]").disabled')
    rolled = seed.input_value()
    button(page, 'dice').click()                                   # the page answers meanwhile
    page.wait_for_function('s => document.querySelector("input[type=number]").value != s', arg=rolled, timeout=20_000)
    assert button(page, 'Cancel').is_enabled()
    button(page, 'Cancel').click()
    page.get_by_text(re.compile(r'Stopped after step \d+ of 64')).wait_for()
    assert page.get_by_text(re.compile('^3 ·')).count() == 0 and button(page, 'Generate').is_enabled()

    button(page, 'restore').last.click()                           # take 1
    page.wait_for_function('s => document.querySelector("input[type=number]").value == s', arg=first)
    page.wait_for_function('document.querySelector("select").value == 2')
    page.get_by_text(re.compile('^1 · 128 BPM')).click()
    page.wait_for_function('s => heard.at(-1).sound == s', arg=a['sound'])
    with page.expect_download() as file: page.get_by_text('Save WAV').click()
    assert file.value.suggested_filename == f'ladmg_128bpm_seed{first}.wav'
    file.value.save_as(tmp_path/'x.wav'); loop = Loop.load(tmp_path/'x.wav')
    assert (loop.bpm, loop.bars, loop.waveform.shape[1]) == (128, 2, loop_samples(128, 2, 24000)) and loop.recipe['seed'] == int(first)

    page.locator('select').first.select_option('4')
    def click_to_sound(): # seconds
        button(page, 'dice').click()
        n, start = page.evaluate('heard.length'), time.perf_counter()
        button(page, 'Generate').click(); page.wait_for_function('n => heard.length > n', arg=n)
        return time.perf_counter()-start
    took = [click_to_sound() for _ in range(3)]
    assert abs(page.evaluate('heard.at(-1).seconds')-4*240/128) < 1e-3 and min(took) < 4, took
    assert not page.wrong

BENCH = '''
from types import SimpleNamespace
import ipywidgets as W
from ladmg.core import LadmgError
from ladmg.widgets import LoopExplorer, MorphPad, StepGrid

class Pipe:
    net = SimpleNamespace(config={'clap': 512})
    def __call__(self, prompt='', negative_prompt='', callback=None, **kw): raise LadmgError(f'{prompt} but not {negative_prompt} cannot be played: ask for music.')

grid, pad, said = StepGrid(['kick', 'hat']), MorphPad(corners=['dub', 'acid', 'deep', 'electro']), W.HTML()
def tell(_): said.value = f"kick {''.join(map(str, grid.grid['kick']))} hat {''.join(map(str, grid.grid['hat']))} at {pad.x:.2f} {pad.y:.2f}"
grid.observe(tell, 'grid'); pad.observe(tell, ['x', 'y'])
W.VBox([LoopExplorer(Pipe()), grid, pad, said])
'''

def test_prompt_error_grid_and_pad(at, page, tmp_path):
    cell = dict(cell_type='code', id='bench', metadata={}, execution_count=None, outputs=[], source=BENCH)
    (tmp_path/'bench.ipynb').write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=dict(name='python3', display_name='', language='python')), nbformat=4, nbformat_minor=5)))
    port = at('from voila.app import main; main()', tmp_path/'bench.ipynb', '--no-browser', '--Voila.ip=127.0.0.1')
    page.goto(f'http://127.0.0.1:{port}/')
    page.get_by_placeholder('dub techno').fill('Silence')
    page.get_by_placeholder('vocals').fill('noise'); page.keyboard.press('Tab')
    button(page, 'Generate').click()
    page.get_by_role('alert').wait_for()
    assert page.get_by_role('alert').inner_text() == 'Silence but not noise cannot be played: ask for music.'
    assert 'Traceback' not in page.content() and button(page, 'Generate').is_enabled()

    button(page, 'kick, step 1').click()
    for key in ('ArrowRight', 'ArrowRight', 'ArrowDown', ' '): page.keyboard.press(key)
    page.get_by_text('kick 1000000000000000 hat 0010000000000000 at 0.50 0.50').wait_for()
    assert button(page, 'hat, step 3').get_attribute('aria-pressed') == 'true'
    pad = page.get_by_role('slider', name='Morph pad')
    box = pad.bounding_box()
    page.mouse.move(box['x']+box['width']/2, box['y']+box['height']/2); page.mouse.down()
    page.mouse.move(box['x']+box['width']*.25, box['y']+box['height']*2); page.mouse.up() # past the edge
    page.get_by_text('at 0.25 1.00').wait_for()
    page.keyboard.press('ArrowUp'); page.keyboard.press('ArrowLeft')
    page.get_by_text('at 0.20 0.95').wait_for()
    look(page, 'bench')
    assert not page.wrong

@pytest.fixture(scope='module')
def site():
    "The site in `_docs`, built if it is not there, without a network to go to."
    if not (ROOT/'_docs'/'index.html').exists(): subprocess.run([sys.executable, 'tools/docs.py', 'site'], cwd=ROOT, check=True)
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=ROOT/'_docs')) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()

def test_the_site(site, page):
    page.on('console', lambda m: page.wrong.append(m.text) if m.type == 'error' else None)
    page.on('request', lambda r: page.wrong.append(r.url) if not r.url.startswith((site, 'data:', 'blob:')) else None)
    page.goto(f'{site}/index.html')
    look_at_site(page, 'site_front')
    audio = 'document.querySelector("audio")'
    page.evaluate(f'{audio}.play()'); page.wait_for_function(f'{audio}.currentTime > .2')
    page.get_by_role('searchbox').fill('groovebox')
    page.locator('.smalldocs-search-results a').first.wait_for()
    page.locator('.smalldocs-search-results a').first.click(); page.wait_for_url(re.compile('groovebox'))

    for p in sorted((ROOT/'_docs').rglob('*.html')):                # every sound can be played
        page.goto(f"{site}/{p.relative_to(ROOT/'_docs').as_posix()}")
        broken = page.evaluate('''async () => (await Promise.all([...document.querySelectorAll('audio')].map(a => new Promise(done => {
            if (a.readyState > 1) done(0); a.oncanplay = () => done(0); a.onerror = () => done(1); a.load(); })))).filter(b => b).length''')
        assert not broken, f'{p.name}: {broken} sounds cannot be played'

    page.goto(f'{site}/blending.html')
    assert page.locator('math').count() > 3
    look_at_site(page, 'site_blending')
    page.goto(f'{site}/widgets.html')                              # widgets in the state that they were saved in
    button(page, 'Play').first.click(); page.wait_for_function('level() > .01')
    assert page.evaluate('heard[0].loop') and abs(page.evaluate('heard[0].seconds')-2*240/126) < 1e-3
    step = button(page, 'kick, step 2'); was = step.get_attribute('aria-pressed'); step.click()
    assert step.get_attribute('aria-pressed') != was
    look_at_site(page, 'site_widgets')
    assert not page.wrong

def look_at_site(page, name):
    for scheme, width in (('dark', 400), ('light', 1280)):
        page.emulate_media(color_scheme=scheme); page.set_viewport_size({'width': width, 'height': 900}); page.wait_for_timeout(300)
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), name
        back = page.evaluate('getComputedStyle(document.body).backgroundColor')
        assert (max(map(int, re.findall(r'\d+', back)[:3])) < 100) == (scheme == 'dark'), back
        if SHOTS: page.screenshot(path=f'{SHOTS}/{name}_{width}.png', full_page=True)
