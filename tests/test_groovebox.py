"The groovebox away from its demonstrations: odd sizes, every style at the ends of the tempo range, one-shots."
import numpy as np, pytest, soundfile as sf, torch

from ladmg.audio import Loop
from ladmg.core import LadmgError
from ladmg.groovebox import STYLES, VOICES, render_loop, render_stems

@pytest.fixture
def shots(tmp_path):
    "A folder with a silent lead-in before every sample."
    for name, f in (('bd_1', 55), ('sn_1', 200), ('hat_closed', 5000), ('tom lo', 90), ('noise', 1000)):
        x = np.zeros(9000); x[2000:] = np.sin(2*np.pi*f*np.arange(7000)/44100)*np.exp(-np.arange(7000)/1500)
        sf.write(tmp_path/f'{name}.wav', x, 44100)
    return tmp_path

@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('bpm,bars,sr', [(80, 1, 24000), (180, 1, 24000), (127.3, 3, 44100), (179.9, 16, 16000)])
def test_any_size(style, bpm, bars, sr):
    loop = render_loop(11, bpm, bars, sr, style=style)
    x = loop.waveform[0]
    assert len(x) == round(sr*240*bars/bpm) and x.abs().max() < 1 and x.std() > .05 and abs(x.mean()) < 1e-3
    assert loop.tags[style] and sum(loop.tags[s] for s in STYLES) == 1 and loop.recipe['style'] == style and len(set(loop.captions)) == 6
    for v in VOICES:
        assert not len(loop.onsets[v]) or 0 <= loop.onsets[v].min() and loop.onsets[v].max() < loop.seconds
        if len(loop.onsets[v]): assert loop.tags[v]
    assert loop.key.split()[1] in ('minor', 'major')

def test_one_bar_never_fills(): assert not any(render_loop(s, 150, bars=1).tags['fill'] for s in range(12))

def test_stems_carry_their_labels():
    stems, loop = render_stems(6, 130, 2), render_loop(6, 130, 2)
    assert torch.allclose(sum(s.waveform for s in stems.values()), loop.waveform, atol=1e-5)
    assert all(isinstance(s, Loop) and s.bpm == 130 and s.bars == 2 for s in stems.values())

def test_shots_take_over(shots):
    for seed in range(4):
        mine, own = (render_stems(seed, 120, 1, shots=f) for f in (shots, None))
        assert set(mine) == set(own)
        for v in mine: assert np.array_equal(mine[v].onsets[v], own[v].onsets[v])
        if 'kick' in mine: assert not torch.equal(mine['kick'].waveform, own['kick'].waveform)
    assert torch.equal(render_loop(0, 120, shots=shots).waveform, render_loop(0, 120, shots=str(shots)).waveform)

def test_silent_shot_is_not_labelled(tmp_path):
    sf.write(tmp_path/'bd.wav', np.zeros(4000), 24000)
    loop = render_loop(0, 120, shots=tmp_path)
    assert not loop.tags['kick'] and not len(loop.onsets['kick']) and torch.isfinite(loop.waveform).all()

@pytest.mark.parametrize('kw,word', [(dict(shots='nowhere'), 'one-shots'), (dict(style='polka'), 'dub_techno'), (dict(bars=17), 'bars'), (dict(bpm=5), 'BPM')])
def test_says_what_is_wrong(kw, word):
    with pytest.raises(LadmgError, match=word): render_loop(0, **kw)
