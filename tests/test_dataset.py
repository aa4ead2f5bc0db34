"Folders as they come: junk, stereo, NaN, a run that stopped half way."
import numpy as np, pytest, soundfile as sf, torch
from ladmg.audio import Loop, loop_samples
from ladmg.core import LadmgError
from ladmg.dataset import DESCRIPTORS, choose_loops, cut_loops, describe, descriptors_of, find_key, open_data, prepare
from ladmg.groovebox import render_loop

def write(path, seconds, sr=24000, channels=1, value=0.):
    sf.write(path, np.full((round(seconds*sr), channels), value, np.float32), sr, subtype='FLOAT')

def test_junk_is_named_and_nothing_is_left(tmp_path):
    (tmp_path/'junk').mkdir()
    write(tmp_path/'junk'/'nan.wav', 20, value=np.nan); write(tmp_path/'junk'/'silence.wav', 20); write(tmp_path/'junk'/'short.wav', .5, value=.1)
    (tmp_path/'junk'/'text.mp3').write_text('no music'); (tmp_path/'junk'/'empty.flac').touch(); (tmp_path/'junk'/'notes.txt').write_text('not even a name of music')
    with pytest.raises(LadmgError, match='Nothing to learn from'): prepare(tmp_path/'junk', tmp_path/'data', workers=1)
    assert not (tmp_path/'data'/'state.json').exists()
    with pytest.raises(LadmgError, match='no data set'): open_data(tmp_path/'data')

def test_a_bad_track_stops_nothing_and_finished_files_are_not_done_again(tmp_path):
    (tmp_path/'in').mkdir()
    for s in range(2): render_loop(s, 150, bars=1).save(tmp_path/'in'/f'{s}.wav')
    write(tmp_path/'in'/'nan.wav', 20, value=np.nan)
    about = prepare(tmp_path/'in', tmp_path/'data', workers=1)
    assert about['loops'] == 2 and 'NaN' in about['skipped']['nan.wav']
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path/'data'/'parts').glob('*.arrow')}
    render_loop(2, 150, bars=1).save(tmp_path/'in'/'2.wav')                       # as if the first run had been stopped before it
    about = prepare(tmp_path/'in', tmp_path/'data', workers=1)
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path/'data'/'parts').glob('*.arrow')}
    assert about['loops'] == 3 and len(after) == 3 and before.items() <= after.items()
    data, _ = open_data(tmp_path/'data')
    assert all(descriptors_of(r).shape == (len(DESCRIPTORS), r['n_frames']) and 0 <= descriptors_of(r).min() and descriptors_of(r).max() <= 1 for r in data)
    assert set(data['key']) == {render_loop(s, 150, bars=1).key for s in range(3)}
    assert sorted(data['source']) == ['0.wav', '1.wav', '2.wav'] and set(data['split']) == {'train', 'valid'}

def test_a_stereo_track_at_another_rate_becomes_loops_of_whole_bars():
    loop = render_loop(3, 124, sample_rate=44100)
    track = Loop(loop.waveform.repeat(2, 4), 44100)
    loops = list(cut_loops(track))
    assert len(loops) >= 2
    for l in loops:
        assert abs(l.bpm-124) < .5 and l.waveform.shape[0] == 2 and l.bars == 4 and len(l.beats) == 16
        assert abs(l.waveform.shape[1]-loop_samples(124, 4, 44100)) < 100
        assert (l.waveform[:, 0]-l.waveform[:, -1]).abs().max() < .2

def test_silence_and_noise_are_no_tracks():
    with pytest.raises(LadmgError, match='silent'): list(cut_loops(Loop(torch.zeros(1, 480000), 24000)))
    with pytest.raises(LadmgError): list(cut_loops(Loop(torch.full((1, 24000), .1), 24000)))

def test_chosen_loops_are_the_best_that_do_not_overlap():
    score = lambda **at: np.array([at.get(f'b{i}', -np.inf) for i in range(20)])
    starts = np.ones(20, bool)
    assert choose_loops({1: score(b0=.9, b4=.9, b8=.9), 2: score(b0=.6, b4=.95)}, starts) == [(0, 1), (4, 2)]
    assert choose_loops({1: score(b0=.9, b2=.95)}, starts) == [(2, 1)] and choose_loops({1: score(b0=.1)}, starts) == []
    assert choose_loops({1: score(b0=.9, b1=.95)}, np.arange(20) % 4 == 0) == [(0, 1)]

def test_descriptors_go_round():
    loop = render_loop(5, 120)
    d, n = describe(loop, 600), loop.waveform.shape[1]
    e = describe(Loop(loop.waveform.roll(n//2, 1), 24000, 120, 4), 600)
    assert np.abs(np.roll(d, 300, 1)[:2]-e[:2]).max() < .01 and np.abs(np.roll(d, 300, 1)-e).mean() < .03
    assert (describe(Loop(torch.zeros(1, 48000), 24000, 120, 1), 100) == 0).all()

def test_the_key_follows_the_pitch():
    "Played faster by two semitones, the key is two semitones higher."
    loop = next(l for l in map(render_loop, range(300, 320)) if find_key(l.waveform, 24000))
    a, b = find_key(loop.waveform, 24000), find_key(loop.waveform, round(24000*2**(2/12)))
    notes = 'C C# D D# E F F# G G# A A# B'.split()
    assert b and ((notes.index(b.split()[0])-notes.index(a.split()[0])) % 12, b.split()[1]) == (2, a.split()[1])
    assert find_key(torch.randn(1, 240000, generator=torch.Generator().manual_seed(0)), 24000) == ''
