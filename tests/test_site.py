"The site that `make docs` built, read without a browser."
import re
from pathlib import Path
from urllib.parse import unquote
import pytest

ROOT = Path(__file__).resolve().parent.parent

@pytest.mark.skipif(not (ROOT/'_docs'/'index.html').exists(), reason='there is no site yet: make docs')
def test_the_site_has_no_dead_link():
    pages = {p: p.read_text(encoding='utf-8') for p in (ROOT/'_docs').rglob('*.html')}
    ids = {p: set(re.findall(r'\bid="([^"]+)"', t)) for p, t in pages.items()}
    dead = []
    for p, text in pages.items():
        for link in re.findall(r'<(?:a|img|script|link|audio|source)\b[^>]*?\b(?:href|src)="([^"]*)"', text):
            if re.match(r'[a-z]+:|//', link) or not link: continue
            path, _, name = link.partition('#')
            to = (p.parent/unquote(path.partition('?')[0])).resolve() if path else p
            if not to.is_file() or (name and to in ids and unquote(name) not in ids[to]): dead.append(f'{p.relative_to(ROOT)}: {link}')
    assert len(pages) > 15 and not dead, dead
    outside = {u for t in pages.values() for u in re.findall(r'<(?:img|script|link|audio|source|iframe)\b[^>]*?\b(?:href|src)="((?:https?:)?//[^"]*)"', t)}
    assert not outside, outside
