"Captions say what is true, all that they claim, and nothing that they don't."
import re

import numpy as np
import pytest

from ladmg.core import LadmgError, seed_of
from ladmg.groovebox.captions import FORMS, TEMPLATES, WORDS, captions, tempo_words, which, without_article
from ladmg.groovebox.patterns import KEYS, STYLES
from ladmg.groovebox.voices import VOICES

DRUMS = VOICES[:VOICES.index('bass')]

def made_up_tags(seed):
    "Tags as a loop might have them."
    rng = np.random.default_rng(seed_of(seed, 'fake'))
    def coin(p):
        return bool(rng.random() < p)
    tags = {voice: coin(.9 if voice in ('kick', 'hat', 'bass') else .4) for voice in VOICES}
    if coin(.05):
        tags |= dict.fromkeys(DRUMS, False)
    four, swung = coin(.7), coin(.4)
    style, bass = rng.choice(list(STYLES)), rng.choice(['rolling', 'sub', 'acid', 'pluck'])
    tags |= {name: bool(name == style) for name in STYLES}
    tags |= {'four_on_the_floor': tags['kick'] and four, 'broken': tags['kick'] and not four}
    tags |= {'swung': swung, 'straight': not swung}
    tags |= {f'{kind}_bass': bool(tags['bass'] and kind == bass) for kind in ('rolling', 'sub', 'acid')}
    for low, high in (('dark', 'bright'), ('dry', 'spacious'), ('sparse', 'dense')):
        x = rng.random()
        tags |= {low: bool(x < .33), high: bool(x > .67)}
    tags |= {name: coin(.3) for name in ('polymeter', 'fill', 'distorted', 'dub_delay')}
    tags['ducked'] = tags['kick'] and coin(.5)
    tags['offbeat_hats'] = (tags['hat'] or tags['open_hat']) and coin(.4)
    return tags

# Reading back

def make_lexicon():
    "Bare phrase → (whether it stands after a negation, claims), the longest phrases first."
    lexicon = {}
    for table, rows in WORDS.items():
        for row in rows:
            for phrase in row['training']+row['held_out']:
                bare = without_article(phrase.lower())
                lexicon.setdefault(bare, []).append((table == 'missing', row['claims']))
    return dict(sorted(lexicon.items(), key=lambda item: -len(item[0])))

def make_negations():
    forms = FORMS['no']['training']+FORMS['no']['held_out']
    words = {form.split(' {}')[0].removeprefix('with ') for form in forms} | {'nor', 'neither'}
    return '|'.join(sorted(map(re.escape, words), key=len, reverse=True))

LEXICON, NEGATIONS = make_lexicon(), make_negations()

def read_back(text):
    "For each phrase found in a caption, longest first, the claims that it can stand for."
    rest = ' '+without_article(text.lower())+' '
    found = []
    for phrase in LEXICON:
        if phrase not in rest:
            continue
        at = re.compile(rf'(?<![\w-])((?:{NEGATIONS}) )?{re.escape(phrase)}(?![\w-])')
        for match in at.finditer(rest):
            negated = bool(match[1])
            meanings = [claims for negative, claims in LEXICON[phrase] if negative == negated]
            found.append((match[0], meanings))
        rest = at.sub(' | ', rest)
    return found

def check_caption(text, claims, known):
    assert claims and claims.items() <= known.items(), text
    assert not re.search(r'\{|\}|\s\s|,,|,\.|\b[Aa] [aeiou]|\b[Aa]n [^aeiouA]|\b(\w+) \1\b', text), text

def check_words(text, claims):
    "Each phrase in the text is claimed, and each claim is in the text."
    found = read_back(text)
    named = set(tempo_words(126)) if re.search(r'\d+ ?b', text.lower()) else set()
    for phrase, meanings in found:
        assert any(meaning.items() <= claims.items() for meaning in meanings), (text, phrase)
        named.update(*meanings)
    assert claims.keys() <= named, text

def captions_of(seed, held_out):
    tags, bpm = made_up_tags(seed), 80+seed/5
    made = captions(tags, bpm, f'{KEYS[seed % 12]} minor', seed, held_out=held_out)
    return made, tags | tempo_words(bpm)

@pytest.mark.parametrize('held_out', [False, True])
def test_captions_are_true_and_complete(held_out):
    for seed in range(100):
        made, known = captions_of(seed, held_out)
        assert len({text for text, _ in made}) == 6
        for text, claims in made:
            check_caption(text, claims, known)
            check_words(text, claims)

@pytest.mark.slow
@pytest.mark.parametrize('held_out', [False, True])
def test_more_captions_are_true(held_out):
    texts = []
    for seed in range(500):
        made, known = captions_of(seed, held_out)
        for text, claims in made:
            check_caption(text, claims, known)
            texts.append(text)
    assert len(set(texts)) > .9*len(texts)
    assert max(len(text.split()) for text in texts) < 50

def test_equal_seeds_give_equal_captions():
    arguments = made_up_tags(1), 126, 'A minor', 1
    assert captions(*arguments) == captions(*arguments)
    assert captions(*arguments, held_out=True) == captions(*arguments, held_out=True, new_phrases=True)

# What is held out

def phrases(held_out):
    rows = [row for table in WORDS.values() for row in table]
    return {without_article(phrase) for row in rows for phrase in row[which(held_out)]}

def test_nothing_stands_on_both_sides():
    assert not phrases(False) & phrases(True)
    for forms in (TEMPLATES, *FORMS.values()):
        assert not {*forms['training']} & {*forms['held_out']}
        assert len(forms['training']) == 3*len(forms['held_out'])

def test_every_attribute_can_be_said_on_both_sides():
    count = {}
    for table in ('sounds', 'qualities', 'adjectives', 'styles'):
        for row in WORDS[table]:
            both = len(row['training']), len(row['held_out'])
            for attribute, true in row['claims'].items():
                if true:
                    sizes = count.setdefault(attribute, np.zeros(2, int))
                    sizes += both
    assert set(count) == {*made_up_tags(0), *tempo_words(126)}
    least_training, least_held_out = np.min(list(count.values()), 0)
    assert least_training >= 3 and least_held_out >= 1

def test_new_forms_with_known_words():
    texts = []
    for seed in range(20):
        tags = made_up_tags(seed)
        made = captions(tags, 126, 'A minor', seed, held_out=True, new_phrases=False)
        texts += [text for text, _ in made]
    assert not [text for text in texts if re.search(r'sizzling|maracas|metre-bending|skeletal', text)]

# Too little to say

def test_says_when_too_few_can_be_made():
    with pytest.raises(LadmgError, match='different captions'):
        captions({}, 126, '', 0, n=250)
