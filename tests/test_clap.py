"CLAP: bad input, the cache, models that share no space, captioned folders, LAION-CLAP with random weights."
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ladmg.audio import Loop
from ladmg.clap.laion import Laion, build_laion, load_laion, read_laion
from ladmg.clap.model import Clap
from ladmg.clap.towers import SmallClap, circular_pad
from ladmg.clap.training import CaptionBatches, clap_loss, folder_rows, read_captions, reword, train_clap, write_rows
from ladmg.core import LadmgError
from ladmg.dataset import open_data, prepare
from ladmg.groovebox.captions import captions, tempo_words
from ladmg.groovebox.machine import render_loop
from ladmg.models import save_folder

SR = 24000

def noise(seconds, seed=0, sr=SR):
    samples = np.random.default_rng(seed).standard_normal(round(sr*seconds))
    return torch.from_numpy(samples.astype(np.float32))*.1

def check_sentence(error):
    text = str(error.value)
    assert text.endswith('.') and '\n' not in text

class Fake:
    "Embeds five moments of a piece, and the first letter of a text."
    sample_rate = SR
    seconds = 2.
    calls = 0

    def eval(self):
        return self

    def encode_audio(self, wave):
        self.calls += 1
        return F.normalize(wave[:, :5]+1, dim=-1)

    def encode_text(self, texts):
        self.calls += 1
        rows = [[ord(t[0]), len(t), 1., 0, 0] for t in texts]
        return F.normalize(torch.tensor(rows), dim=-1)

@pytest.fixture(scope='module')
def clap():
    return Clap.from_pretrained('ladmg')

# Input

BAD_SOUNDS = {
    'nan': (noise(1)*float('nan'), 'NaN'),
    'short': (noise(.05), 'shorter than'),
    'empty': (torch.zeros(0), 'shorter than'),
    'none': ([], 'shorter than'),
    '4d': (torch.zeros(1, 1, 1, SR), 'shape'),
    'list of 3d': ([torch.zeros(1, 1, SR)], 'shape')}

@pytest.mark.parametrize('wave,says', BAD_SOUNDS.values(), ids=BAD_SOUNDS)
def test_one_sentence_on_sound(wave, says):
    with pytest.raises(LadmgError, match=says) as error:
        Clap(Fake(), 'fake').embed_audio(wave, SR)
    check_sentence(error)

@pytest.mark.parametrize('texts', [[], '', [''], ['dark', '  '], [3], [None]])
def test_one_sentence_on_words(texts):
    with pytest.raises(LadmgError, match='at least one word') as error:
        Clap(Fake(), 'fake').embed_text(texts)
    check_sentence(error)

SOUNDS = {
    'one': (noise(1), 1),
    'batch': (torch.stack([noise(1), noise(1, 1)]), 2),
    'batch of channels': (noise(1).view(1, 1, -1), 1),
    'two channels': (noise(1).view(1, 2, -1), 1),
    'list': ([noise(1), noise(3).view(1, -1)], 2),
    'numpy': (noise(1).numpy(), 1),
    'loop': (Loop(noise(1), SR).waveform, 1)}

@pytest.mark.parametrize('wave,n', SOUNDS.values(), ids=SOUNDS)
def test_shapes_of_sound(wave, n):
    embedding = Clap(Fake(), 'fake').embed_audio(wave, SR)
    assert embedding.shape == (n, 5) and type(embedding) is torch.Tensor
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(n))

def test_long_sound_is_the_mean_of_its_windows():
    wave = noise(5)
    starts = [0, 1.5, 3] # three windows of 2 s spread over 5 s
    windows = [F.normalize(wave[round(SR*s):][:5]+1, dim=-1) for s in starts]
    expected = F.normalize(torch.stack(windows).mean(0), dim=-1)
    torch.testing.assert_close(Clap(Fake(), 'fake').embed_audio(wave, SR)[0], expected)

def test_any_order_and_company_gives_the_same_vectors():
    clap = Clap(Fake(), 'fake')
    waves = [noise(seconds, seed) for seed, seconds in enumerate((1, 3, 1, 2, 5))]
    alone = torch.cat([clap.embed_audio(w, SR) for w in waves])
    torch.testing.assert_close(clap.embed_audio(waves, SR, batch=2), alone)
    torch.testing.assert_close(clap.embed_audio(waves[::-1], SR), alone.flip(0))

@pytest.mark.parametrize('length', [1, 2, 3, 5, 8])
def test_a_circle_is_padded_with_itself(length):
    x = torch.arange(length).float()
    expected = x[torch.arange(-4, length+4) % length]
    torch.testing.assert_close(circular_pad(x, 4), expected)

# What is kept

def test_the_cache_knows_content_and_checkpoint(tmp_path):
    net = Fake()
    clap = Clap(net, 'one', tmp_path)
    first = clap.embed_audio([noise(1), noise(1, 1)], SR)
    calls = net.calls
    again = clap.embed_audio([noise(1, 1), noise(1)], SR)
    torch.testing.assert_close(again, first.flip(0), atol=0, rtol=0)
    assert net.calls == calls # nothing new
    clap.embed_audio(noise(1), SR//2) # another rate is another sound
    clap.embed_text('dark')
    assert net.calls == calls+2
    Clap(net, 'two', tmp_path).embed_audio(noise(1), SR)
    assert net.calls == calls+3

def cut_short(file):
    file.write_bytes(file.read_bytes()[:-3])

def emptied(file):
    file.write_bytes(b'')

def overwritten(file):
    file.write_text('x')

@pytest.mark.parametrize('damage', [cut_short, emptied, overwritten])
def test_a_damaged_cache_is_mended(tmp_path, damage):
    clap = Clap(Fake(), 'one', tmp_path)
    expected = clap.embed_text(['dark'])
    for file in tmp_path.rglob('*.npy'):
        damage(file)
    torch.testing.assert_close(clap.embed_text(['dark']), expected)
    torch.testing.assert_close(Clap(Fake(), 'one', tmp_path).embed_text(['dark']), expected)

def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    (tmp_path/'file').touch()
    with pytest.raises(LadmgError, match='Cannot write') as error:
        Clap(Fake(), 'one', tmp_path/'file').embed_text('dark')
    check_sentence(error)

def test_embeddings_of_another_model_are_refused():
    clap = Clap(Fake(), 'one')
    clap.check('one', 'The network')
    with pytest.raises(LadmgError, match="The network holds embeddings of 'two', this CLAP is 'one'") as error:
        clap.check('two', 'The network')
    check_sentence(error)

# The small one

def test_the_packaged_model(clap):
    waves = [noise(1.3), noise(24)]
    sounds = clap.embed_audio(waves, SR)
    texts = clap.embed_text(['dark dub techno', 'no hats'])
    assert sounds.shape == texts.shape and sounds.isfinite().all()
    torch.testing.assert_close(clap.embed_audio(waves, SR), sounds, atol=0, rtol=0)
    louder = clap.embed_audio([waves[0]/8, waves[1]*5], SR)
    torch.testing.assert_close(louder, sounds, atol=1e-3, rtol=0) # louder is the same
    assert clap.embed_audio(torch.zeros(SR), SR).isfinite().all()
    assert clap.embed_audio(noise(.1), SR).shape == (1, 256) # the shortest there is
    state = clap.net.state_dict()
    tower = [tensor for name, tensor in state.items() if name.startswith('audio.')]
    weights = [tensor for tensor in tower if tensor.is_floating_point()]
    assert 2*sum(tensor.numel() for tensor in weights) <= 4e6

def test_the_packaged_model_finds_loops(clap):
    loops = [render_loop(seed, bars=1) for seed in range(9000, 9032)]
    facts = [l.tags | tempo_words(l.bpm) for l in loops]
    sounds = clap.embed_audio([l.waveform for l in loops], SR)
    pairs = [p for i, l in enumerate(loops) for p in captions(l.tags, l.bpm, l.key, i, 2)]
    nearest = (clap.embed_text([text for text, _ in pairs]) @ sounds.T).argmax(1)
    right = [claims.items() <= facts[i].items() for i, (_, claims) in zip(nearest.tolist(), pairs)]
    chance = np.mean([[claims.items() <= f.items() for f in facts] for _, claims in pairs])
    assert np.mean(right) > .6 > 2*chance

def test_a_foreign_folder_is_refused(tmp_path):
    save_folder(tmp_path/'unet', {'kind': 'ladmg-unet'}, {'x': torch.zeros(1)}, '')
    save_folder(tmp_path/'clap', {'kind': 'ladmg-clap', 'dim': 8}, {'x': torch.zeros(1)}, '')
    for name, says in (('unet', 'not a'), ('clap', 'do not fit')):
        with pytest.raises(LadmgError, match=says) as error:
            Clap.from_pretrained(tmp_path/name)
        check_sentence(error)

# Captions of one's own

@pytest.fixture
def own(tmp_path):
    for i in range(3):
        Loop(noise(2, i), SR).save(tmp_path/f'{i}.wav')
    return tmp_path

def test_tables(own):
    (own/'c.csv').write_text('file,text\n0.wav,"dark, slow"\n1.wav,bright\n0.wav,murky\n')
    (own/'c.jsonl').write_text('{"file": "0.wav", "text": "dark"}\n\n{"file": "2.wav", "text": "dub"}\n')
    assert read_captions(own, own/'c.csv') == {own/'0.wav': ['dark, slow', 'murky'], own/'1.wav': ['bright']}
    assert read_captions(own, own/'c.jsonl') == {own/'0.wav': ['dark'], own/'2.wav': ['dub']}

BAD_TABLES = [
    ('c.csv', b'file,text\n9.wav,dark\n', 'not in'),
    ('c.csv', b'name,words\n0.wav,dark\n', 'Row 1'),
    ('c.csv', b'file,text\n0.wav,\n', 'Row 1'),
    ('c.csv', b'', 'two different'),
    ('c.csv', b'file,text\n0.wav,dark\n1.wav,dark\n', 'two different'),
    ('c.jsonl', b'{"file": ', 'not JSON lines'),
    ('c.jsonl', b'[1]', 'Row 1'),
    ('c.jsonl', b'\xff\xfe\x80', 'cannot be read'),
    (None, b'', 'cannot be read')]

@pytest.mark.parametrize('name,content,says', BAD_TABLES)
def test_one_sentence_on_tables(own, name, content, says):
    if name:
        (own/name).write_bytes(content)
    with pytest.raises(LadmgError, match=says) as error:
        read_captions(own, own/(name or 'none.csv'))
    check_sentence(error)

def test_equal_captions_are_each_others_positives(own):
    (own/'c.csv').write_text('file,text\n0.wav,dark\n1.wav,dark\n2.wav,bright\n')
    write_rows(own/'data', folder_rows(own, own/'c.csv'))
    batch = CaptionBatches(own/'data', ['kick'], size=3)(0)
    assert sorted(batch['positive'][:, :3].sum(1).tolist()) == [1, 2, 2]
    assert not batch['claims'].any()
    losses = clap_loss(SmallClap(16, ['kick']), batch)
    assert losses['tags'] == losses['claims'] == 0
    assert losses['loss'] == (losses['sound']+losses['words'])/2

def test_a_batch_depends_on_seed_and_step_alone(own):
    facts = [{'kick': True, 'hat': False}, {'kick': False, 'hat': True}]
    mels = [torch.randn(80, frames) for frames in (30, 500)]
    rows = []
    for mel, fact in zip(mels, facts):
        captions = [('a caption', fact), ('no hat', {'hat': False})]
        rows.append((mel, fact, captions))
    write_rows(own/'data', rows)
    batches = CaptionBatches(own/'data', ['kick', 'hat', 'pad'], size=2, seed=1)
    one = batches(0)
    again = batches(0)
    other = batches(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one['mel'], other['mel'])
    assert one['tags'][:, 2].eq(0).all() # a pad is unknown
    assert one['foreign'].sum() == 4 and not one['positive'][:, one['foreign']].any()

def test_no_is_said_in_another_way():
    rng = np.random.default_rng(0)
    assert 'no' not in reword('a loop with no hats', rng).split()
    assert reword('notes and nothing', rng) == 'notes and nothing'

def test_a_captioned_folder_trains(own):
    (own/'c.csv').write_text('file,text\n0.wav,rain\n1.wav,snow\n2.wav,hail\n')
    states = list(train_clap(own/'run', own, own/'c.csv', steps=2, size=3, start=None))
    assert states[-1].step == 2
    assert 'Apache' in (own/'run/model/README.md').read_text()
    assert Clap.from_pretrained(own/'run/model').embed_text('rain').shape == (1, 256)
    with pytest.raises(LadmgError, match='belong together'):
        next(train_clap(own/'other', own))

# The large one

def test_laion_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, package=None: None)
    with pytest.raises(LadmgError, match='pip install') as error:
        Clap.from_pretrained('laion')
    check_sentence(error)

class Evil:
    "Leaves a trace when it is unpickled."
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path(self.trace).touch, ()

def test_a_checkpoint_of_laion_is_read_without_pickle(tmp_path):
    positions = torch.arange(3)[None]
    state = {'module.text_branch.embeddings.position_ids': positions, 'module.x': torch.ones(2)}
    torch.save({'epoch': 1, 'state_dict': state}, tmp_path/'a.pt')
    assert set(read_laion(tmp_path/'a.pt')) == {'x'}
    torch.save({'state_dict': Evil(tmp_path/'harm')}, tmp_path/'evil.pt')
    (tmp_path/'cut.pt').write_bytes((tmp_path/'a.pt').read_bytes()[:100])
    for name in ('evil.pt', 'cut.pt', 'none.pt'):
        with pytest.raises(LadmgError, match='cannot|can be read') as error:
            read_laion(tmp_path/name)
        check_sentence(error)
    assert not (tmp_path/'harm').exists()

needs_laion = pytest.mark.skipif(importlib.util.find_spec('laion_clap') is None, reason='needs ladmg[laion]')
MUSIC = 'music_audioset_epoch_15_esc_90.14.pt'

@pytest.fixture(scope='module')
def published(tmp_path_factory):
    "The published layout with random weights, and a small vocabulary beside it."
    folder = tmp_path_factory.mktemp('laion')
    torch.manual_seed(0)
    model = build_laion()
    assert model.audio_branch.__class__.__name__ == 'HTSAT_Swin_Transformer' and not model.enable_fusion
    state = {f'module.{name}': t for name, t in model.state_dict().items()}
    state['module.text_branch.embeddings.position_ids'] = torch.arange(514)[None]
    torch.save({'epoch': 15, 'name': 'test', 'state_dict': state}, folder/MUSIC)
    words = ['<s>', '<pad>', '</s>', '<unk>', *map(chr, range(33, 127)), 'Ġ']
    words += [f'<w{i}>' for i in range(50265-len(words)-1)]
    words.append('<mask>')
    (folder/'vocab.json').write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder/'merges.txt').write_text('#version: 0.2\n')
    return folder

@needs_laion
@pytest.mark.slow
def test_laion_offline(published):
    clap = Clap.from_pretrained(published/MUSIC)
    assert 'laion_clap' not in sys.modules
    assert clap.name.startswith('laion-') and isinstance(clap.net, Laion)
    waves = [noise(3, 0, 48000), noise(25, 1, 48000)]
    sounds = clap.embed_audio(waves, 48000)
    again = clap.embed_audio(waves, 48000)
    texts = clap.embed_text(['dark techno', 'birds'])
    assert sounds.shape == texts.shape == (2, 512)
    assert (sounds[0]-sounds[1]).abs().max() > 1e-6
    torch.testing.assert_close(sounds, again, atol=0, rtol=0) # beyond 10 s as well: windows, not a random crop
    torch.testing.assert_close(sounds.norm(dim=1), torch.ones(2))
    assert clap.embed_audio(noise(3), SR).shape == (1, 512)

@needs_laion
@pytest.mark.slow
def test_laion_says_what_to_fetch(published, tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError('no network')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(LadmgError, match='give the path of that file') as error:
        Clap.from_pretrained('laion')
    check_sentence(error)
    (tmp_path/'m.pt').hardlink_to(published/MUSIC)
    with pytest.raises(LadmgError, match='vocab.json and merges.txt') as error:
        load_laion(tmp_path/'m.pt')
    check_sentence(error)

# In a data set

@pytest.mark.slow
def test_a_data_set_keeps_the_vectors(tmp_path, clap):
    render_loop(3, 120, bars=1).save(tmp_path/'music/a.wav')
    render_loop(4, 120, bars=1).save(tmp_path/'music/b.wav')
    about = prepare(tmp_path/'music', tmp_path/'data', workers=1, clap='ladmg')
    row = next(r for r in open_data(tmp_path/'data')[0] if r['source'] == 'a.wav')
    assert about['clap'] == clap.name
    assert len(row['embeddings']) == 1+len(row['captions']) # of the sound, then of its captions
    expected = clap.embed_audio(Loop.load(tmp_path/'music/a.wav').waveform, SR)[0]
    torch.testing.assert_close(torch.tensor(row['embeddings'][0]), expected, atol=2e-3, rtol=0)
