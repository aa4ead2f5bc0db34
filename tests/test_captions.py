"Captions say what is true, all that they claim, and nothing that they don't."
import re

import numpy as np
import pytest

from ladmg.core import LadmgError, seed_of
from ladmg.grammar import without_article
from ladmg.groovebox import captions as module
from ladmg.groovebox.captions import (FORMS, GROUPS, REGISTERS, TAGS, TEMPLATES, WORDS, captions, describe,
                                      tempo_words, understood, which, word_list)
from ladmg.groovebox.machine import write_score
from ladmg.groovebox.patterns import NOTES
from ladmg.groovebox.stems import STEMS, part_tags
from ladmg.groovebox.voices import VOICES, read_data

def loop_tags(seed):
    "Tags of a loop that is written but not rendered, its tempo and its key."
    score, rng = write_score(seed, None, 4, 24000, None, None), np.random.default_rng(seed_of(seed, 'fake'))
    chords = NOTES[score.groove.mode]['chords']
    details = {voice: chords[rng.integers(len(chords))] for voice in GROUPS['chords']}
    details['sweep'] = str(rng.choice(['rise', 'fall', 'wave']))
    rows = score.pattern.velocities
    playing = [v for v, plays in score.groove.plays.items() if plays and (v not in rows or rows[v].any())]
    onsets = sum((row > .15).sum() for row in rows.values())/4
    highs, wet = rng.uniform(-22, -4), rng.uniform(-26, -4)
    tags = describe(score.groove, score.pattern, playing, highs, wet, onsets, score.bpm, details)
    return tags, score.bpm, score.groove.key

def part_of(tags, seed):
    "Tags of a stem, of two stems, of a voice, or of a few."
    rng = np.random.default_rng(seed)
    playing = [voice for voice in VOICES if tags[voice]]
    parts = [*STEMS.values(), ('bass', *STEMS['synth']), [rng.choice(playing)], rng.permutation(playing)[:3]]
    return part_tags(tags, parts[seed % len(parts)])

def captions_of(seed, held_out, part):
    tags, bpm, key = loop_tags(seed)
    tags = part_of(tags, seed) if part else tags
    if not any(tags[voice] for voice in VOICES):
        return [], tags
    return captions(tags, bpm, key, seed, held_out=held_out, bars=4), tags | tempo_words(bpm)

# Reading back

def make_lexicon():
    "Bare phrase → (whether it stands after a negation, claims), the longest phrases first."
    lexicon = {}
    for table, rows in WORDS.items():
        for row in rows if table != 'pairs' else []: # of phrases that are there
            for phrase in row['training']+row['held_out']:
                meanings = lexicon.setdefault(without_article(phrase.lower()), [])
                meanings.append(('missing' in table, row['claims']))
                if row.get('only'): # one name of several
                    meanings.append((False, {name: True for name, true in row['claims'].items() if true}))
    return dict(sorted(lexicon.items(), key=lambda item: -len(item[0])))

LEXICON = make_lexicon()
FORM = re.compile(r'(?<![\w-])(no|without|without any|with no|zero|w/o|minus|lacking|excluding|free of) $')

def read_back(text):
    "For each phrase found in a caption, longest first, the claims that it can stand for."
    rest = f' {text.lower().replace("_", " ")} '
    rest = re.sub('beats per minute|everything else muted|muted everything|has been muted', '', rest)
    found = []
    for phrase in LEXICON:
        if phrase not in rest:
            continue
        at = re.compile(rf'(?<![\w-]){re.escape(phrase)}(?![\w-])')
        for match in at.finditer(rest):
            negated = bool(FORM.search(rest[:match.start()]))
            meanings = [claims for negative, claims in LEXICON[phrase] if negative or not negated]
            found.append((match[0], meanings))
        rest = at.sub(' | ', rest)
    return found

def check_caption(text, claims, known):
    assert claims and claims.items() <= known.items(), text
    assert not re.search(r'\{|\}|\s\s|,,|,\.|\b[Aa] [aei]|\b[Aa]n [^aeiou8A]|\b(\w+) \1\b', text), text

def check_words(text, claims, known):
    "Each phrase in the text is true, and each claim is in the text."
    named = set(tempo_words(126)) | {'minor', 'major'}
    for phrase, meanings in read_back(text):
        assert any(meaning.items() <= known.items() for meaning in meanings), (text, phrase)
        named.update(*meanings)
    assert claims.keys() <= named, text

@pytest.fixture
def well_spelt(monkeypatch):
    monkeypatch.setattr(module, 'respell', lambda rng, text, spellings: text)

@pytest.mark.parametrize('part', [False, True])
@pytest.mark.parametrize('held_out', [False, True])
def test_captions_are_true_and_complete(held_out, part, well_spelt):
    for seed in range(60):
        made, known = captions_of(seed, held_out, part)
        assert len({text for text, _ in made}) == len(made)
        for text, claims in made:
            check_caption(text, claims, known)
            check_words(text, claims, known)

@pytest.mark.slow
@pytest.mark.parametrize('held_out', [False, True])
def test_more_captions_are_true(held_out):
    texts = []
    for seed in range(500):
        made, known = captions_of(seed, held_out, False)
        for text, claims in made:
            assert claims.items() <= known.items()
            texts.append(text)
    assert len(set(texts)) > .9*len(texts)
    assert max(len(text.split()) for text in texts) < 50

def test_equal_seeds_give_equal_captions():
    arguments = *loop_tags(1), 1
    assert captions(*arguments) == captions(*arguments)
    assert captions(*arguments, held_out=True) == captions(*arguments, held_out=True, new_phrases=True)

# Alone and silent

def plays(claims):
    return {voice for voice in VOICES if claims.get(voice)}

@pytest.mark.parametrize('voice', VOICES)
def test_a_voice_alone_is_said_to_be_alone(voice):
    tags = dict.fromkeys(VOICES, False) | {voice: True}
    tags |= {group: voice in voices for group, voices in GROUPS.items()}
    made = captions(tags, 126, '', 3, n=20)
    alone = [claims for _, claims in made if sum(claims.get(v) is False for v in VOICES) >= 6]
    assert len(alone) >= 5
    assert all(plays(claims) <= {voice} for _, claims in made)

def test_what_is_denied_is_silent():
    for row in (row for table in WORDS.values() for row in table):
        for group in GROUPS.keys() & row['claims'].keys():
            if not row['claims'][group]:
                assert not any(row['claims'][voice] for voice in GROUPS[group])
        if row.get('only'):
            named = [name for name, true in row['claims'].items() if true]
            allowed = {*named, *(voice for name in named for voice in GROUPS.get(name, ()))}
            assert all(row['claims'][voice] is False for voice in set(VOICES)-allowed)

def test_no_key_without_notes():
    tags, bpm, key = loop_tags(0)
    drums = part_tags(tags, STEMS['drums'])
    for held_out in (False, True):
        for text, claims in captions(drums, bpm, key, 0, n=40, held_out=held_out):
            assert not {'minor', 'major'} & {name for name, true in claims.items() if true}, text
            assert not re.search(r'\b[A-G][#b]? (minor|major)|\b[A-G][#b]?(m|maj)\b', text), text

# What is held out

def phrases(held_out):
    rows = [row for table, rows in WORDS.items() for row in rows]
    return {without_article(phrase).lower() for row in rows for phrase in row[which(held_out)]}

def any_of(phrases):
    return re.compile('|'.join(rf'(?<![\w-]){re.escape(phrase)}(?![\w-])' for phrase in phrases))

def test_nothing_stands_on_both_sides():
    assert not phrases(False) & phrases(True)
    for forms in (TEMPLATES, *FORMS.values()):
        assert not {*forms['training']} & {*forms['held_out']}

def test_a_third_is_held_out():
    counts = [sum(len(row[which(held_out)]) for rows in WORDS.values() for row in rows) for held_out in (False, True)]
    assert sum(counts) > 2700 and .3 < counts[1]/sum(counts) < .4
    whole = [name for name, register in REGISTERS.items() if 'training' not in register]
    assert len(whole) >= 4 and len(REGISTERS)-len(whole) >= 6

def test_no_held_out_phrase_in_a_training_caption():
    found = any_of(phrases(True))
    for seed in range(60):
        for part in (False, True):
            for text, _ in captions_of(seed, False, part)[0]:
                assert not found.search(text.lower().replace('_', ' ')), text

def test_every_attribute_can_be_said_on_both_sides():
    count = {}
    for table in ('sounds', 'qualities', 'adjectives', 'styles'):
        for row in WORDS[table]:
            both = len(row['training']), len(row['held_out'])
            for attribute, true in row['claims'].items():
                if true:
                    sizes = count.setdefault(attribute, np.zeros(2, int))
                    sizes += both
    assert set(count) == {*loop_tags(0)[0], *tempo_words(126)}
    least_training, least_held_out = np.min(list(count.values()), 0)
    assert least_training >= 3 and least_held_out >= 1

def test_every_claim_is_a_tag():
    known = {*loop_tags(0)[0], *tempo_words(126)}
    assert all(row['claims'].keys() <= known for table in WORDS.values() for row in table)
    assert {name for names in TAGS['kinds'].values() for name in names} == known
    assert TAGS['heard_in'].keys() | {*TAGS['measured']} <= known

def test_new_forms_with_known_words():
    tags, bpm, key = loop_tags(2)
    found = any_of([phrase for phrase in phrases(True) if ' ' in phrase])
    for seed in range(20):
        for text, _ in captions(tags, bpm, key, seed, held_out=True, new_phrases=False):
            assert not found.search(text.lower()), text

# What can be asked for

def test_each_kind_has_examples():
    for kind, examples in word_list().items():
        for what, text in examples.items():
            assert understood(text)[1] == [], (kind, what, text)

def test_known_and_unknown_words():
    assert understood('only a kick, 124 bpm, in F# minor')[1] == []
    assert understood('Kick + bass!')[1] == []
    assert understood('kick 🎻, 小提琴 and violin') == (['kick', 'and'], ['🎻', '小提琴', 'violin'])

def test_prompts_for_later():
    prompts = read_data('prompts')
    known = {*loop_tags(0)[0], *tempo_words(126)}
    assert [len(prompts[name]) for name in ('prompts', 'solos', 'foreign')] == [100, 40, 60]
    assert all(prompt['claims'].keys() <= known for prompt in prompts['prompts'])
    assert all({*solo['plays']} <= {*VOICES, *STEMS} for solo in prompts['solos'])
    assert sum(bool(understood(text)[1]) for text in prompts['foreign']) >= 57
    written = {text for seed in range(60) for text, _ in captions_of(seed, False, seed % 2)[0]}
    assert not written & {prompt['prompt'] for prompt in prompts['prompts']}

# Too little to say

def test_says_when_too_few_can_be_made():
    with pytest.raises(LadmgError, match='different captions'):
        captions({}, 126, '', 0, n=250)
