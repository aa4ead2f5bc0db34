"The rules of the house: who may use whom, notebooks and modules in step, what the package may hold and need."
import ast, json, os, re, shutil, subprocess, sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
NBS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(s[0] in '._' for s in p.relative_to(ROOT).parts))
ROOMS = {m[2]: (int(m[1]), p) for p in NBS if (m := re.fullmatch(r'(\d\d)_(\w+)', p.stem))} # module → number, notebook
MODULES = sorted(p for p in (ROOT/'ladmg').glob('*.py') if p.name[0] != '_')

def settings():
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']

def cells(nb, kind):
    "The sources of a notebook's cells, code without magics."
    found = [''.join(c['source']) for c in json.loads(nb.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == kind]
    return found if kind == 'markdown' else [re.sub(r'^\s*[%!].*$', '', s, flags=re.M) for s in found]

def imports(source):
    "Every module that a piece of Python imports, by its full name; in a module of ours `.core` is `ladmg.core`."
    for n in ast.walk(ast.parse(source)):
        if isinstance(n, ast.Import): yield from (a.name for a in n.names)
        if isinstance(n, ast.ImportFrom):
            base = '.'.join(filter(None, ['ladmg' if n.level else '', n.module]))
            yield from (f'{base}.{a.name}' for a in n.names) if base == 'ladmg' else [base]

def per_notebook(nbs): return pytest.mark.parametrize('nb', nbs, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())

# One direction

@per_notebook([p for _, p in ROOMS.values()])
def test_a_room_uses_only_rooms_with_lower_numbers(nb):
    number, name = int(nb.stem[:2]), nb.stem[3:]
    module = ROOT/'ladmg'/f'{name}.py'
    rooms = lambda sources: {i.split('.')[1] for s in sources for i in imports(s) if i.startswith('ladmg.')}
    told, built = rooms(cells(nb, 'code')), rooms([module.read_text(encoding='utf-8')] if module.exists() else [])
    assert told|built <= ROOMS.keys(), f'no rooms: {(told|built)-ROOMS.keys()}'
    late = lambda used: {u: ROOMS[u][0] for u in used if ROOMS[u][0] >= number and u != name}
    assert not late(built) and not late(told-{'metrics'}), (late(built), late(told)) # any room may be measured

def test_every_module_has_its_notebook():
    numbers = [n for n, _ in ROOMS.values()]
    assert len(numbers) == len(set(numbers)), 'a number stands for one room'
    exported = {m[1]: name for name, (_, nb) in ROOMS.items() for s in cells(nb, 'code') if (m := re.match(r'#\| *default_exp (\S+)', s))}
    assert all(module == name for module, name in exported.items()), exported
    assert {p.stem for p in MODULES} == exported.keys()

# In step

@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
    "A copy of the notebooks, exported and cleaned as `make sync` does it."
    d = tmp_path_factory.mktemp('house')
    shutil.copytree(ROOT/'nbs', d/'nbs', ignore=shutil.ignore_patterns('.*'))
    for f in ('settings.ini', 'pyproject.toml'): shutil.copy(ROOT/f, d)
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'} # with which nbdev_export does nothing
    for code in ('from nbdev.doclinks import nbdev_export as f; f()', 'from nbdev.clean import nbdev_clean as f; f()'):
        subprocess.run([sys.executable, '-c', code], cwd=d, env=env, check=True)
    return d

def test_modules_are_what_the_notebooks_export(fresh):
    here, made = ({p.name: p.read_text(encoding='utf-8') for p in (d/'ladmg').glob('*.py')} for d in (ROOT, fresh))
    assert here.keys() == made.keys()
    assert [n for n in made if here[n] != made[n]] == [], 'say make sync'
    assert (fresh/'pyproject.toml').read_text() == (ROOT/'pyproject.toml').read_text()

def test_notebooks_are_clean(fresh):
    assert [p.name for p in NBS if p.read_bytes() != (fresh/p.relative_to(ROOT)).read_bytes()] == [], 'say make sync'

# Notebooks

@per_notebook(NBS)
def test_a_notebook_says_what_it_is(nb):
    head = '\n\n'.join(cells(nb, 'markdown')[:2])
    assert re.match(r'# \S.*\n+> \S', head), 'starts with a title and a line of summary'
    if nb.stem == 'index': return
    m = re.search(r'\*\*Needs\*\* .+?\*\*Runs\*\* (.+?)\.\s.*?\*\*Expect\*\* ', head, re.S)
    assert m, 'then says what it **Needs**, how long it **Runs** and what to **Expect**'
    runs = ' '.join(m[1].removeprefix('in ').split()).replace(' on two CPU cores', '')
    assert f'| {runs} |' in (ROOT/'README.md').read_text(encoding='utf-8'), 'the table in README.md is older: run index.ipynb, make readme'

@per_notebook(NBS)
def test_a_notebook_is_small_and_its_cells_have_names(nb):
    assert nb.stat().st_size < 2*2**20
    ids = [c['id'] for c in json.loads(nb.read_text(encoding='utf-8'))['cells']]
    assert len(ids) == len(set(ids))

@per_notebook([p for p in NBS if p.stem != 'index'])
def test_a_notebook_opens_on_colab(nb):
    (badge, install), s = [''.join(c['source']) for c in json.loads(nb.read_text(encoding='utf-8'))['cells'][2:4]], settings()
    assert badge.endswith(f"(https://colab.research.google.com/github/{s['user']}/{s['repo']}/blob/{s['branch']}/{nb.relative_to(ROOT).as_posix()})"), 'say make sync'
    assert install.endswith(f"'install -q git+{s['git_url']}')") and "if 'google.colab' in str(get_ipython())" in install, 'say make sync'

# What the package may hold, do and need

def calls(tree, *names): return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in names]

@pytest.mark.parametrize('module', MODULES, ids=lambda p: p.stem)
def test_no_pickle(module):
    source = module.read_text(encoding='utf-8')
    tree = ast.parse(source)
    named = {f'{n.module}.{a.name}' for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}|set(imports(source))
    assert not named & {'pickle.load', 'pickle.loads', 'pickle.dump', 'pickle.dumps', 'torch.load', 'torch.save', 'dill', 'joblib', 'shelve', 'marshal'}
    assert not calls(tree, 'torch.save', 'pickle.load', 'pickle.loads', 'pickle.dump', 'pickle.dumps')
    for load in calls(tree, 'torch.load'): assert 'weights_only=True' in map(ast.unparse, load.keywords), ast.unparse(load)
    assert 'allow_pickle=True' not in source.replace(' ', '')

def test_laion_clap_waits_until_it_is_asked_for(tmp_path):
    (tmp_path/'laion_clap.py').touch() # so that an import of it would succeed
    code = f'import sys, {", ".join(f"ladmg.{p.stem}" for p in MODULES)}; print("laion_clap" in sys.modules)'
    r = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                       env={**os.environ, 'PYTHONPATH': str(tmp_path), 'MPLBACKEND': 'agg'})
    assert r.stdout.strip() == 'False', r.stdout+r.stderr

def test_the_address_stands_in_settings_only():
    if not (ROOT/'.git').exists(): pytest.skip('not a git checkout')
    address = settings()['git_url'].split('://')[1].rpartition('/')[0] # host and owner
    made = {'settings.ini', 'README.md', 'ladmg/_modidx.py', *(p.relative_to(ROOT).as_posix() for p in NBS)} # the one place, and what is generated from it
    files = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\0')
    assert [f for f in files if f and f not in made and (ROOT/f).is_file() and address.encode() in (ROOT/f).read_bytes()] == []

def test_the_weights_are_light():
    assert sum(p.stat().st_size for p in (ROOT/'ladmg'/'weights').rglob('*') if p.is_file()) < 40*2**20

def requirements(*names): return [Requirement(r) for n in names for r in settings()[n].split()]

def test_requirements_have_lower_bounds_and_no_pins():
    for r in requirements('requirements', 'laion_requirements', 'app_requirements'):
        operators = {s.operator for s in r.specifier}
        assert '>=' in operators and operators <= {'>=', '<'}, str(r)
    assert {r.name for r in requirements('requirements') if any(s.operator == '<' for s in r.specifier)} <= {'fastcore'}

def test_every_import_is_a_requirement():
    declared = {canonicalize_name(r.name) for r in requirements('requirements', 'laion_requirements', 'app_requirements')}
    installed = packages_distributions()
    for m in MODULES:
        for top in {i.split('.')[0] for i in imports(m.read_text(encoding='utf-8'))}-sys.stdlib_module_names-{'ladmg'}:
            assert declared & {canonicalize_name(d) for d in installed.get(top, [top])}, f'{m.name} imports {top}'
