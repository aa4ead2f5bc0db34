"Folders as they come: junk, stereo, NaN, a run that stopped half way."
import numpy as np, pytest, soundfile as sf, torch
from ladmg.audio import Loop, loop_samples
from ladmg.core import LadmgError
from ladmg.dataset import cut_loops, open_data, prepare
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
