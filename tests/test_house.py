"The rules of the house: who imports whom, modules in step, how lines are written, what the package may hold and need."
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from configparser import ConfigParser
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT/'ladmg'

def visible(path):
    return not any(part[0] in '._' for part in path.relative_to(ROOT).parts)

def dotted(path): # ladmg/rhythm/tempo.py → rhythm.tempo
    return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)

def numbered(notebooks): # rhythm.tempo → (21, path)
    found = {}
    for path in notebooks:
        match = re.fullmatch(r'(\d\d)_([\w.]+)', path.stem)
        if match:
            found[match[2]] = (int(match[1]), path)
    return found

NOTEBOOKS = [p for p in sorted((ROOT/'nbs').rglob('*.ipynb')) if visible(p)]
CHAPTERS = numbered(NOTEBOOKS)
MODULES = [p for p in sorted(PACKAGE.rglob('*.py')) if p.name[0] != '_']
MEASURES = {'metrics.distances', 'metrics.scores'}
installed_packages = cache(packages_distributions)
CODE_CELLS = {'code': lambda s: re.sub(r'^\s*[%!].*$', '', s, flags=re.M), 'markdown': str}

def settings():
    config = ConfigParser(delimiters=['='], interpolation=None)
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']

def read_cells(notebook):
    return json.loads(notebook.read_text(encoding='utf-8'))['cells']

def sources(notebook, kind): # 'code' or 'markdown'
    "Give the sources of a notebook's cells, code without magics."
    found = [''.join(c['source']) for c in read_cells(notebook) if c['cell_type'] == kind]
    return [CODE_CELLS[kind](source) for source in found]

def imports(source):
    "Give every module that a piece of Python imports by its full name; in a module of ours `..core` is `ladmg.core`."
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = '.'.join(filter(None, ['ladmg' if node.level else '', node.module]))
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)

def chapters_used(texts):
    "Give the chapters whose modules are imported, by their dotted names."
    names = {name.removeprefix('ladmg.') for text in texts for name in imports(text) if name.startswith('ladmg.')}
    return names & CHAPTERS.keys()

def per_notebook(notebooks):
    return pytest.mark.parametrize('notebook', notebooks, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())

def per_module(modules):
    return pytest.mark.parametrize('module', modules, ids=dotted)

# One direction

@per_notebook([path for _, path in CHAPTERS.values()])
def test_a_notebook_imports_only_lower_numbers(notebook):
    number, name = int(notebook.stem[:2]), notebook.stem[3:]
    module = PACKAGE.joinpath(*name.split('.')).with_suffix('.py')
    shown = chapters_used(sources(notebook, 'code'))
    exported = chapters_used([module.read_text(encoding='utf-8')]) if module.exists() else set()
    allowed = {other for other, (n, _) in CHAPTERS.items() if n < number} | {name}
    assert exported <= allowed, exported-allowed
    assert shown-MEASURES <= allowed, shown-allowed # anything may be measured

def test_every_module_has_its_notebook():
    numbers = [number for number, _ in CHAPTERS.values()]
    assert len(numbers) == len(set(numbers)), 'a number stands for one notebook'
    exported = {}
    for name, (_, notebook) in CHAPTERS.items():
        for source in sources(notebook, 'code'):
            match = re.match(r'#\| *default_exp (\S+)', source)
            if match:
                exported[match[1]] = name
    assert all(module == name for module, name in exported.items()), exported
    assert {dotted(path) for path in MODULES} == exported.keys()

@per_module(MODULES)
def test_no_private_name_of_another_module(module):
    tree = ast.parse(module.read_text(encoding='utf-8'))
    private = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            private += [alias.name for alias in node.names if alias.name.startswith('_')]
    assert not private

@per_notebook(NOTEBOOKS)
def test_notebooks_use_public_names(notebook):
    private = set()
    for source in sources(notebook, 'code'):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('ladmg'):
                private |= {alias.name for alias in node.names if alias.name.startswith('_')}
    assert not private

# How lines are written

def without_all(text):
    "Leave out `__all__`, which nbdev writes in lines of its own."
    return re.sub(r'^__all__ = \[.*?\]\n', '', text, flags=re.M|re.S)

def nodes_a_line(tree):
    return list(Counter(n.lineno for n in ast.walk(tree) if hasattr(n, 'lineno')).values())

def nodes_a_function(tree):
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    return [sum(1 for _ in ast.walk(function)) for function in functions]

def line_figures(modules=None):
    "Measure the exported modules; of lines only those that are neither empty nor comment."
    lengths, line_nodes, function_nodes, cells = [], [], [], []
    for path in modules or MODULES:
        text = without_all(path.read_text(encoding='utf-8'))
        lines = [line for line in text.split('\n') if line.strip() and not line.strip().startswith('#')]
        lengths += [len(line) for line in lines]
        tree = ast.parse(text)
        line_nodes += nodes_a_line(tree)
        function_nodes += nodes_a_function(tree)
        cells += [len(cell.strip().split('\n'))-1 for cell in text.split('# %% ')[2:]]
    lengths = np.array(lengths)
    return {
        'mean line': lengths.mean(),
        'lines over 100': (lengths > 100).mean(),
        'lines over 120': int((lengths > 120).sum()),
        '90th percentile of nodes a line': np.quantile(line_nodes, .9),
        'median nodes a function': np.median(function_nodes),
        'longest cell': max(cells)}

def test_a_line_does_one_thing():
    figures = line_figures()
    assert figures['mean line'] <= 48
    assert figures['lines over 100'] <= .03
    assert figures['lines over 120'] == 0
    assert figures['90th percentile of nodes a line'] <= 16
    assert figures['median nodes a function'] <= 70
    assert figures['longest cell'] <= 40

@per_module([path for path in MODULES if dotted(path).startswith('groovebox.')])
def test_the_groovebox_is_in_small_modules(module):
    assert len(module.read_text(encoding='utf-8').split('\n')) <= 350

def test_ruff_finds_nothing():
    ruff = Path(sys.executable).with_name('ruff')
    done = subprocess.run([ruff, 'check', '--quiet', '.'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]

# In step

@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
    "A copy of the notebooks, exported and cleaned as `make sync` does it."
    folder = tmp_path_factory.mktemp('house')
    shutil.copytree(ROOT/'nbs', folder/'nbs', ignore=shutil.ignore_patterns('.*'))
    for name in ('settings.ini', 'pyproject.toml'):
        shutil.copy(ROOT/name, folder)
    (folder/'ladmg').mkdir()
    shutil.copy(PACKAGE/'__init__.py', folder/'ladmg')
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'} # with which nbdev_export does nothing
    for code in ('from nbdev.doclinks import nbdev_export as f; f()', 'from nbdev.clean import nbdev_clean as f; f()'):
        subprocess.run([sys.executable, '-c', code], cwd=folder, env=env, check=True)
    return folder

def modules_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_text(encoding='utf-8') for p in (folder/'ladmg').rglob('*.py')}

def test_modules_are_what_the_notebooks_export(fresh):
    here, made = modules_of(ROOT), modules_of(fresh)
    assert here.keys() == made.keys()
    assert [name for name in made if here[name] != made[name]] == [], 'run make sync'
    assert (fresh/'pyproject.toml').read_text() == (ROOT/'pyproject.toml').read_text()

def test_notebooks_are_clean(fresh):
    changed = [p.name for p in NOTEBOOKS if p.read_bytes() != (fresh/p.relative_to(ROOT)).read_bytes()]
    assert changed == [], 'run make sync'

# Notebooks

@per_notebook(NOTEBOOKS)
def test_a_notebook_says_what_it_is(notebook):
    head = '\n\n'.join(sources(notebook, 'markdown')[:2])
    assert re.match(r'# \S.*\n+> \S', head), 'starts with a title and a line of summary'
    if notebook.stem == 'index':
        return
    match = re.search(r'\*\*Needs\*\* .+?\*\*Runs\*\* (.+?)\.\s.*?\*\*Expect\*\* ', head, re.S)
    assert match, 'then says what it **Needs**, how long it **Runs** and what to **Expect**'
    runs = ' '.join(match[1].removeprefix('in ').split()).replace(' on two CPU cores', '')
    readme = (ROOT/'README.md').read_text(encoding='utf-8')
    assert f'| {runs} |' in readme, 'README.md is older: run index.ipynb, then make readme'

@per_notebook(NOTEBOOKS)
def test_a_notebook_is_small_and_its_cells_have_names(notebook):
    assert notebook.stat().st_size < 2*2**20
    ids = [cell['id'] for cell in read_cells(notebook)]
    assert len(ids) == len(set(ids))

@per_notebook([p for p in NOTEBOOKS if p.stem != 'index'])
def test_a_notebook_opens_on_colab(notebook):
    badge, install = (''.join(cell['source']) for cell in read_cells(notebook)[2:4])
    s = settings()
    path = notebook.relative_to(ROOT).as_posix()
    address = f"(https://colab.research.google.com/github/{s['user']}/{s['repo']}/blob/{s['branch']}/{path})"
    assert badge.endswith(address), 'run make sync'
    assert install.endswith(f"'install -q git+{s['git_url']}')"), 'run make sync'
    assert "if 'google.colab' in str(get_ipython())" in install

# Words that the second edition has replaced, in code and in text

PRIVATE_WORDS = '|'.join([
    r'\brooms? \[?\d', r'\bquicken\b', r'\btake_over\b', r'\bbegun_with\b',
    r'\bgrid_steps\b', r'\bsteps_grid\b', r'\bweak=', r'\bease=', r'\bcolour='])

@per_notebook(NOTEBOOKS)
def test_the_vocabulary_is_the_fields(notebook):
    text = '\n'.join(sources(notebook, 'code')+sources(notebook, 'markdown'))
    assert not re.findall(PRIVATE_WORDS, text)

# What the package may hold, do and need

def calls(tree, *names):
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in names]

PICKLES = {'pickle.load', 'pickle.loads', 'pickle.dump', 'pickle.dumps', 'torch.load', 'torch.save'}
PICKLERS = {'dill', 'joblib', 'shelve', 'marshal'}

@per_module(MODULES)
def test_no_pickle(module):
    source = module.read_text(encoding='utf-8')
    tree = ast.parse(source)
    assert not set(imports(source)) & (PICKLES | PICKLERS)
    assert not calls(tree, *PICKLES-{'torch.load'})
    for load in calls(tree, 'torch.load'):
        assert 'weights_only=True' in map(ast.unparse, load.keywords), ast.unparse(load)
    assert 'allow_pickle=True' not in source.replace(' ', '')

def test_laion_clap_waits_until_it_is_asked_for(tmp_path):
    (tmp_path/'laion_clap.py').touch() # so that an import of it would succeed
    modules = ', '.join(f'ladmg.{dotted(path)}' for path in MODULES)
    code = f'import sys, {modules}; print("laion_clap" in sys.modules)'
    env = {**os.environ, 'PYTHONPATH': str(tmp_path), 'MPLBACKEND': 'agg'}
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.stdout.strip() == 'False', done.stdout+done.stderr

def test_the_address_stands_in_settings_only():
    if not (ROOT/'.git').exists():
        pytest.skip('not a git checkout')
    address = settings()['git_url'].split('://')[1].rpartition('/')[0] # host and owner
    made = {'settings.ini', 'README.md', 'ladmg/_modidx.py'} # the one place, and what is generated from it
    made |= {p.relative_to(ROOT).as_posix() for p in NOTEBOOKS}
    done = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True)
    others = [ROOT/name for name in done.stdout.split('\0') if name and name not in made]
    assert [p.name for p in others if p.is_file() and address.encode() in p.read_bytes()] == []

def test_the_weights_are_light():
    files = [p for p in (PACKAGE/'weights').rglob('*') if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 40*2**20

def requirements(*names):
    return [Requirement(r) for name in names for r in settings()[name].split()]

def test_requirements_have_lower_bounds_and_no_pins():
    for r in requirements('requirements', 'laion_requirements', 'app_requirements'):
        operators = {s.operator for s in r.specifier}
        assert '>=' in operators, str(r)
        assert operators <= {'>=', '<'}, str(r)
    bounded = {r.name for r in requirements('requirements') if any(s.operator == '<' for s in r.specifier)}
    assert bounded <= {'fastcore'}

@per_module(MODULES)
def test_every_import_is_a_requirement(module):
    needed = requirements('requirements', 'laion_requirements', 'app_requirements')
    declared = {canonicalize_name(r.name) for r in needed}
    installed = installed_packages()
    packages = {name.split('.')[0] for name in imports(module.read_text(encoding='utf-8'))}
    for package in packages-sys.stdlib_module_names-{'ladmg'}:
        distributions = {canonicalize_name(d) for d in installed.get(package, [package])}
        assert declared & distributions, f'{module.name} imports {package}'
