"The site that `make docs` built, read without a browser."
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT/'_docs'
LINK = r'<(?:a|img|script|link|audio|source)\b[^>]*?\b(?:href|src)="([^"]*)"'
LOADED = r'<(?:img|script|link|audio|source|iframe)\b[^>]*?\b(?:href|src)="((?:https?:)?//[^"]*)"'

pytestmark = pytest.mark.skipif(not (SITE/'index.html').exists(), reason='there is no site yet: run make docs')

@pytest.fixture(scope='module')
def pages():
    return {p: p.read_text(encoding='utf-8') for p in SITE.rglob('*.html')}

def outside(link):
    return not link or re.match(r'[a-z]+:|//', link)

def is_dead(page, link, ids):
    "Tell whether a link leads to no file, or to a name that its page doesn't hold."
    path, _, name = link.partition('#')
    target = (page.parent/unquote(path.partition('?')[0])).resolve() if path else page
    if not target.is_file():
        return True
    return bool(name) and target in ids and unquote(name) not in ids[target]

def test_the_site_has_no_dead_link(pages):
    ids = {p: set(re.findall(r'\bid="([^"]+)"', text)) for p, text in pages.items()}
    dead = []
    for page, text in pages.items():
        links = [link for link in re.findall(LINK, text) if not outside(link)]
        dead += [f'{page.relative_to(ROOT)}: {link}' for link in links if is_dead(page, link, ids)]
    assert len(pages) > 15
    assert not dead, dead

def test_the_site_asks_nothing_of_other_servers(pages):
    found = {address for text in pages.values() for address in re.findall(LOADED, text)}
    assert not found, found
