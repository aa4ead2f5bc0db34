"Faults of `ladmg.clap`: bad input, the cache, models that must not meet, captioned folders, and the real architecture of LAION-CLAP with random weights."
import importlib.util, json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ladmg.audio import Loop
from ladmg.clap import (Batches, Clap, Laion, SmallClap, build_laion, clap_loss, folder_rows, load_laion, named, read_captions, read_laion,
                        train_clap, write_rows)
from ladmg.core import LadmgError, save_folder
from ladmg.dataset import open_data, prepare
from ladmg.groovebox import render_loop

SR = 24000
noise = lambda seconds, seed=0, sr=SR: torch.from_numpy(np.random.default_rng(seed).standard_normal(round(sr*seconds)).astype(np.float32))*.1

def sentence(e): assert str(e.value).endswith('.') and '\n' not in str(e.value)

class Fake:
    "Hears five moments of a piece, reads letters."
    sample_rate, seconds, calls = SR, 2., 0
    def eval(self): return self
    def hear(self, x): self.calls += 1; return F.normalize(x[:, :5]+1, dim=-1)
    def read(self, texts): self.calls += 1; return F.normalize(torch.tensor([[ord(t[0]), len(t), 1., 0, 0] for t in texts]), dim=-1)

@pytest.fixture(scope='module')
def clap(): return Clap.from_pretrained('ladmg')

# Input

@pytest.mark.parametrize('wave,says', [(noise(1)*float('nan'), 'NaN'), (noise(.05), 'shorter than'), (torch.zeros(0), 'shorter than'), ([], 'shorter than'),
                                       (torch.zeros(1, 1, 1, SR), 'shape'), ([torch.zeros(1, 1, SR)], 'shape')], ids=['nan', 'short', 'empty', 'none', '4d', 'list of 3d'])
def test_one_sentence_on_sound(wave, says):
    with pytest.raises(LadmgError, match=says) as e: Clap(Fake(), 'fake').embed_audio(wave, SR)
    sentence(e)

@pytest.mark.parametrize('texts', [[], '', [''], ['dark', '  '], [3], [None]])
def test_one_sentence_on_words(texts):
    with pytest.raises(LadmgError, match='at least one word') as e: Clap(Fake(), 'fake').embed_text(texts)
    sentence(e)

def test_shapes_of_sound():
    c = Clap(Fake(), 'fake')
    for wave, n in ((noise(1), 1), (torch.stack([noise(1), noise(1, 1)]), 2), (noise(1).view(1, 1, -1), 1), ([noise(1), noise(3).view(1, -1)], 2),
                    (noise(1).numpy(), 1), (Loop(noise(1), SR).waveform, 1), (noise(1).view(1, 2, -1), 1)):
        e = c.embed_audio(wave, SR)
        assert e.shape == (n, 5) and e.clap == 'fake'
        torch.testing.assert_close(torch.as_tensor(e.norm(dim=1)).as_subclass(torch.Tensor), torch.ones(n))

def test_long_sound_is_the_mean_of_its_windows():
    c, x = Clap(Fake(), 'fake'), noise(5)
    starts = [0, 1.5, 3]                                                # three windows of 2 s spread over 5 s
    want = F.normalize(torch.stack([F.normalize(x[round(SR*s):][:5]+1, dim=-1) for s in starts]).mean(0), dim=-1)
    torch.testing.assert_close(c.embed_audio(x, SR)[0].as_subclass(torch.Tensor), want)

def test_any_order_and_company_gives_the_same_vectors():
    c, waves = Clap(Fake(), 'fake'), [noise(s, i) for i, s in enumerate((1, 3, 1, 2, 5))]
    alone = torch.cat([c.embed_audio(w, SR) for w in waves])
    torch.testing.assert_close(c.embed_audio(waves, SR, batch=2), alone); torch.testing.assert_close(c.embed_audio(waves[::-1], SR), alone.flip(0))

# What is kept

def test_the_cache_knows_content_and_checkpoint(tmp_path):
    net = Fake(); c = Clap(net, 'one', tmp_path)
    first = c.embed_audio([noise(1), noise(1, 1)], SR); calls = net.calls
    torch.testing.assert_close(c.embed_audio([noise(1, 1), noise(1)], SR), first.flip(0), atol=0, rtol=0)
    assert net.calls == calls                                           # nothing new to hear
    c.embed_audio(noise(1), SR//2); c.embed_text('dark'); assert net.calls == calls+2 # another rate is another sound
    Clap(net, 'two', tmp_path).embed_audio(noise(1), SR); assert net.calls == calls+3

@pytest.mark.parametrize('damage', [lambda f: f.write_bytes(f.read_bytes()[:-3]), lambda f: f.write_bytes(b''), lambda f: f.write_text('x')])
def test_a_damaged_cache_is_mended(tmp_path, damage):
    c = Clap(Fake(), 'one', tmp_path); want = c.embed_text(['dark'])
    [damage(f) for f in tmp_path.rglob('*.npy')]
    torch.testing.assert_close(c.embed_text(['dark']), want); torch.testing.assert_close(Clap(Fake(), 'one', tmp_path).embed_text(['dark']), want)

def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    (tmp_path/'file').touch()
    with pytest.raises(LadmgError, match='Cannot write') as e: Clap(Fake(), 'one', tmp_path/'file').embed_text('dark')
    sentence(e)

@pytest.mark.parametrize('meet', [lambda a, b: a @ b.T, lambda a, b: a+b, lambda a, b: torch.cat([a, b]), lambda a, b: torch.lerp(a, b, .5), lambda a, b: F.cosine_similarity(a, b),
                                  lambda a, b: a[:1] @ F.normalize(b.roll(1, 0), dim=-1).T, lambda a, b: torch.einsum('bd,cd->bc', a, b)])
def test_two_checkpoints_refuse_to_meet(meet):
    a, b = Clap(Fake(), 'one').embed_text(['dark', 'bright']), Clap(Fake(), 'two').embed_text(['dark', 'bright'])
    with pytest.raises(LadmgError, match='one and two') as e: meet(a, b)
    sentence(e); meet(a, a); meet(a, named(torch.as_tensor(b).as_subclass(torch.Tensor), 'one'))

# The small one

def test_the_packaged_model(clap):
    a = clap.embed_audio([noise(1.3), noise(24)], SR); t = clap.embed_text(['dark dub techno', 'no hats'])
    assert a.shape == t.shape and a.clap == t.clap == clap.name and a.isfinite().all()
    torch.testing.assert_close(a, clap.embed_audio([noise(1.3), noise(24)], SR), atol=0, rtol=0)
    torch.testing.assert_close(a, clap.embed_audio([noise(1.3)/8, noise(24)*5], SR), atol=1e-3, rtol=0) # louder is the same
    assert clap.embed_audio(torch.zeros(SR), SR).isfinite().all()
    weights = [v for k, v in clap.net.state_dict().items() if k.startswith('audio.') and v.is_floating_point()]
    assert 2*sum(v.numel() for v in weights) <= 4e6

def test_a_foreign_folder_is_refused(tmp_path):
    save_folder(tmp_path/'unet', {'kind': 'ladmg-unet'}, {'x': torch.zeros(1)}, '')
    save_folder(tmp_path/'clap', {'kind': 'ladmg-clap', 'dim': 8}, {'x': torch.zeros(1)}, '')
    for name, says in (('unet', 'not a'), ('clap', 'do not fit')):
        with pytest.raises(LadmgError, match=says) as e: Clap.from_pretrained(tmp_path/name)
        sentence(e)

# Captions of one's own

@pytest.fixture
def own(tmp_path):
    for i in range(3): Loop(noise(2, i), SR).save(tmp_path/f'{i}.wav')
    return tmp_path

def test_tables(own):
    (own/'c.csv').write_text('file,text\n0.wav,"dark, slow"\n1.wav,bright\n0.wav,murky\n'); (own/'c.jsonl').write_text('{"file": "0.wav", "text": "dark"}\n\n{"file": "2.wav", "text": "dub"}\n')
    assert read_captions(own, own/'c.csv') == {own/'0.wav': ['dark, slow', 'murky'], own/'1.wav': ['bright']}
    assert read_captions(own, own/'c.jsonl') == {own/'0.wav': ['dark'], own/'2.wav': ['dub']}

@pytest.mark.parametrize('name,text,says', [('c.csv', 'file,text\n9.wav,dark\n', 'not in'), ('c.csv', 'name,words\n0.wav,dark\n', 'Row 1'), ('c.csv', 'file,text\n0.wav,\n', 'Row 1'),
    ('c.csv', '', 'two different'), ('c.csv', 'file,text\n0.wav,dark\n1.wav,dark\n', 'two different'), ('c.jsonl', '{"file": ', 'not JSON lines'), ('c.jsonl', '[1]', 'Row 1'),
    ('c.jsonl', b'\xff\xfe\x80', 'cannot be read'), (None, '', 'cannot be read')])
def test_one_sentence_on_tables(own, name, text, says):
    if name: (own/name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LadmgError, match=says) as e: read_captions(own, own/(name or 'none.csv'))
    sentence(e)

def test_equal_captions_are_each_others_positives(own):
    (own/'c.csv').write_text('file,text\n0.wav,dark\n1.wav,dark\n2.wav,bright\n')
    write_rows(own/'data', folder_rows(own, own/'c.csv'))
    batch = Batches(own/'data', ['kick'], size=3)(0)
    assert sorted(batch['positive'][:, :3].sum(1).tolist()) == [1, 2, 2] and not batch['claims'].any()
    losses = clap_loss(SmallClap(16, ['kick']), batch)
    assert losses['tags'] == losses['claims'] == 0 and losses['loss'] == (losses['sound']+losses['words'])/2

def test_a_captioned_folder_trains(own):
    (own/'c.csv').write_text('file,text\n0.wav,rain\n1.wav,snow\n2.wav,hail\n')
    states = list(train_clap(own/'run', own, own/'c.csv', steps=2, size=3, start=None))
    assert states[-1].step == 2 and 'Apache' in (own/'run/model/README.md').read_text()
    assert Clap.from_pretrained(own/'run/model').embed_text('rain').shape == (1, 256)
    with pytest.raises(LadmgError, match='belong together'): next(train_clap(own/'other', own))

# The large one

def test_laion_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, package=None: None)
    with pytest.raises(LadmgError, match='pip install') as e: Clap.from_pretrained('laion')
    sentence(e)

def test_a_checkpoint_of_laion_is_read_without_pickle(tmp_path):
    torch.save({'epoch': 1, 'state_dict': {'module.text_branch.embeddings.position_ids': torch.arange(3)[None], 'module.x': torch.ones(2)}}, tmp_path/'a.pt')
    assert set(read_laion(tmp_path/'a.pt')) == {'x'}
    class Evil:
        def __reduce__(self): return (Path(tmp_path/'harm').touch, ())
    torch.save({'state_dict': Evil()}, tmp_path/'evil.pt'); (tmp_path/'cut.pt').write_bytes((tmp_path/'a.pt').read_bytes()[:100])
    for name in ('evil.pt', 'cut.pt', 'none.pt'):
        with pytest.raises(LadmgError, match='cannot|can be read') as e: read_laion(tmp_path/name)
        sentence(e)
    assert not (tmp_path/'harm').exists()

needs_laion = pytest.mark.skipif(importlib.util.find_spec('laion_clap') is None, reason='needs ladmg[laion]')

@pytest.fixture(scope='module')
def published(tmp_path_factory):
    "The real architecture with random weights, in the layout of the published checkpoint, and a small vocabulary beside it."
    from transformers import RobertaConfig
    d = tmp_path_factory.mktemp('laion')
    torch.manual_seed(0); model = build_laion()
    assert model.audio_branch.__class__.__name__ == 'HTSAT_Swin_Transformer' and not model.enable_fusion and RobertaConfig().hidden_size == 768
    state = {f'module.{k}': v for k, v in model.state_dict().items()} | {'module.text_branch.embeddings.position_ids': torch.arange(514)[None]}
    torch.save({'epoch': 15, 'name': 'test', 'state_dict': state}, d/'music_audioset_epoch_15_esc_90.14.pt')
    words = ['<s>', '<pad>', '</s>', '<unk>', *map(chr, range(33, 127)), 'Ġ', *(f'<w{i}>' for i in range(50265-4-94-1-1)), '<mask>']
    (d/'vocab.json').write_text(json.dumps({w: i for i, w in enumerate(words)})); (d/'merges.txt').write_text('#version: 0.2\n')
    return d

@needs_laion
@pytest.mark.slow
def test_laion_offline(published):
    import sys
    file = published/'music_audioset_epoch_15_esc_90.14.pt'
    c = Clap.from_pretrained(file)
    assert 'laion_clap' not in sys.modules and c.name.startswith('laion-') and isinstance(c.net, Laion)
    waves = [noise(3, 0, 48000), noise(25, 1, 48000)]
    a, again, t = c.embed_audio(waves, 48000), c.embed_audio(waves, 48000), c.embed_text(['dark techno', 'birds'])
    assert a.shape == t.shape == (2, 512) and (a[0]-a[1]).abs().max() > 1e-6
    torch.testing.assert_close(a, again, atol=0, rtol=0)                # beyond 10 s as well: windows, not a random crop
    torch.testing.assert_close(a.norm(dim=1).as_subclass(torch.Tensor), torch.ones(2))
    assert c.embed_audio(noise(3), SR).shape == (1, 512)

@needs_laion
@pytest.mark.slow
def test_laion_says_what_to_fetch(published, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path)); monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    def offline(*a, **k): raise OSError('no network')
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    with pytest.raises(LadmgError, match='give the path of that file') as e: Clap.from_pretrained('laion')
    sentence(e)
    (tmp_path/'m.pt').hardlink_to(published/'music_audioset_epoch_15_esc_90.14.pt')
    with pytest.raises(LadmgError, match='vocab.json and merges.txt') as e: load_laion(tmp_path/'m.pt')
    sentence(e)

# In a data set

def test_a_data_set_keeps_the_vectors(tmp_path, clap):
    loop = render_loop(3, 120, bars=1); loop.save(tmp_path/'music/a.wav'); render_loop(4, 120, bars=1).save(tmp_path/'music/b.wav')
    about = prepare(tmp_path/'music', tmp_path/'data', workers=1, clap='ladmg')
    row = next(r for r in open_data(tmp_path/'data')[0] if r['source'] == 'a.wav')
    assert about['clap'] == clap.name
    assert len(row['clap']) == 1+len(row['captions'])              # of the sound, then of what is said of it
    torch.testing.assert_close(torch.tensor(row['clap'][0]), clap.embed_audio(Loop.load(tmp_path/'music/a.wav').waveform, SR)[0].as_subclass(torch.Tensor), atol=2e-3, rtol=0)
