"Folders as they come: junk, stereo, NaN, a run that stopped half way."

import numpy as np
import pytest
import soundfile as sf

from ladmg.core import LadmgError
from ladmg.dataset import descriptors_of, open_data, prepare
from ladmg.features import DESCRIPTORS
from ladmg.groovebox.machine import render_loop

pytestmark = pytest.mark.usefixtures('in_threads')

def write(path, seconds, sr=24000, value=0.):
    samples = np.full((round(seconds*sr), 1), value, np.float32)
    sf.write(path, samples, sr, subtype='FLOAT')

def test_junk_is_named_and_nothing_is_left(tmp_path):
    junk = tmp_path/'junk'
    junk.mkdir()
    write(junk/'nan.wav', 20, value=np.nan)
    write(junk/'silence.wav', 20)
    write(junk/'short.wav', .5, value=.1)
    (junk/'text.mp3').write_text('no music')
    (junk/'empty.flac').touch()
    (junk/'notes.txt').write_text('not even a name of music')
    with pytest.raises(LadmgError, match='Nothing to learn from'):
        prepare(junk, tmp_path/'data', workers=1)
    assert not (tmp_path/'data').exists()
    with pytest.raises(LadmgError, match='no data set'):
        open_data(tmp_path/'data')

def parts(folder): # → name → time of its last change
    return {part.name: part.stat().st_mtime_ns for part in (folder/'parts').glob('*.arrow')}

def test_a_bad_track_stops_nothing_and_finished_files_are_not_done_again(tmp_path):
    music = tmp_path/'in'
    out = tmp_path/'data'
    music.mkdir()
    for s in range(2):
        render_loop(s, 150, bars=1).save(music/f'{s}.wav')
    write(music/'nan.wav', 20, value=np.nan)
    about = prepare(music, out, workers=1)
    assert about['loops'] == 2
    assert 'NaN' in about['skipped']['nan.wav']
    before = parts(out)
    render_loop(2, 150, bars=1).save(music/'2.wav') # as if the first run had been stopped before it
    about = prepare(music, out, workers=1)
    after = parts(out)
    assert about['loops'] == 3
    assert len(after) == 3
    assert before.items() <= after.items()
    data, _ = open_data(out)
    for row in data:
        descriptors = descriptors_of(row)
        assert descriptors.shape == (len(DESCRIPTORS), row['n_frames'])
        assert descriptors.min() >= 0
        assert descriptors.max() <= 1
    assert set(data['key']) == {render_loop(s, 150, bars=1).key for s in range(3)}
    assert sorted(data['source']) == ['0.wav', '1.wav', '2.wav']
    assert set(data['split']) == {'train', 'valid'}
