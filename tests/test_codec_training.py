"Training of a codec on what goes wrong: folders of junk, silence, foreign weights, a run stopped half way."
import json
import math
from functools import partial

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from ladmg.cli import app
from ladmg.codec import clips
from ladmg.codec.clips import Clips, gather, held_out
from ladmg.codec.encodec import Encodec
from ladmg.codec.init import init_from, read_weights
from ladmg.codec.losses import TrainableCodec, codec_loss
from ladmg.codec.network import build_encodec
from ladmg.codec.training import NET, read_log, train_codec
from ladmg.core import LadmgError
from ladmg.groovebox.machine import render_loop

TINY = dict(steps=6, quantised=2, loops=0, every=2, valid_every=6, clips=2, seconds=.2, white_on=4, workers=1,
            net=dict(n_filters=2, dimension=4, lstm=0), options=dict(n_q=2))


@pytest.fixture(autouse=True, scope='module')
def validation_is_short(in_threads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, 'held_clips', partial(clips.held_clips, n=4))
        yield


def folder_of_tracks(folder):
    folder.mkdir()
    for seed in (1, 2):
        render_loop(seed, 150, bars=1).save(folder/f'{seed}.wav')
    return folder


def run(folder, tracks, stop=None, **settings):
    "Train to the end, or to a phase and step -> the last state."
    for phase, state in train_codec(folder, tracks, **TINY | settings):
        if (phase, state.step) == stop:
            break
    return state


@pytest.fixture
def tracks(tmp_path):
    return folder_of_tracks(tmp_path/'tracks')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    "A run from random weights, and the tracks that it learnt from."
    home = tmp_path_factory.mktemp('finished')
    tracks = folder_of_tracks(home/'tracks')
    run(home/'run', tracks, init='random')
    return home/'run', tracks


@pytest.fixture
def junk(tmp_path):
    folder = tmp_path/'junk'
    folder.mkdir()
    sf.write(folder/'silence.wav', np.zeros(48000), 24000)
    sf.write(folder/'nan.wav', np.full(48000, np.nan, np.float32), 24000, subtype='FLOAT')
    (folder/'text.mp3').write_text('no music')
    (folder/'empty.flac').touch()
    (folder/'notes.txt').write_text('not even a name of music')
    return folder


def test_junk_and_silence_are_named_and_nothing_is_learnt_from_them(tmp_path, junk):
    for loops in (0, 1):
        with pytest.raises(LadmgError, match='no sound that can be read'):
            gather(tmp_path/'sound', junk, loops=loops, workers=1)
    render_loop(1, 150, bars=1).save(junk/'good.wav')
    files = gather(tmp_path/'sound', junk, loops=0, workers=1)
    assert len(files['tracks']) == 1
    assert not files['held tracks']
    assert set(files['skipped']) == {'silence.wav', 'nan.wav', 'text.mp3', 'empty.flac'}
    assert files['skipped']['silence.wav'] == 'silent'
    assert 'NaN' in files['skipped']['nan.wav']


def test_nothing_to_learn_from_is_refused(tmp_path):
    with pytest.raises(LadmgError, match='no folder'):
        gather(tmp_path/'sound', tmp_path/'nowhere', loops=0)
    with pytest.raises(LadmgError, match='Nothing to learn from'):
        gather(tmp_path/'sound', None, loops=0)


def test_a_track_is_held_out_of_each_folder_that_has_two(tmp_path):
    files = []
    for folder, n in (('a', 20), ('b', 2), ('c', 1)):
        files += [tmp_path/folder/f'{i}.wav' for i in range(10, 10+n)]
    held = sorted(f.relative_to(tmp_path).as_posix() for f in held_out(files))
    assert held == ['a/10.wav', 'a/11.wav', 'b/10.wav']


def test_a_track_shorter_than_a_clip_is_repeated(tmp_path):
    path = tmp_path/'track-1.npy'
    np.save(path, np.arange(1, 101, dtype=np.int16))
    x = Clips([(1., [path])], 3, 250, (0., 0.))(0)
    assert x.shape == (3, 1, 250)
    assert torch.equal(x[0, 0, :100], x[0, 0, 100:200])
    assert (x != 0).all()


def test_a_batch_of_silence_gives_a_finite_step():
    torch.manual_seed(0)
    net = TrainableCodec(dict(n_filters=2, dimension=4, lstm=0), filters=2)
    out = codec_loss(net, torch.zeros(2, 1, 6400))
    out['loss'].backward()
    assert all(v.isfinite() for v in out.values())
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_foreign_weights_are_refused_in_a_sentence(tmp_path, tracks):
    foreign = tmp_path/'foreign.safetensors'
    broken = tmp_path/'broken.safetensors'
    save_file({'a': torch.zeros(1)}, foreign)
    broken.write_bytes(b'junk')
    with pytest.raises(LadmgError, match='another network'):
        config, state = read_weights(foreign, dict(n_filters=2))
        init_from(build_encodec(**config), config, state, torch.zeros(1, 1, 3200))
    with pytest.raises(LadmgError, match='damaged'):
        read_weights(broken, NET)
    with pytest.raises(LadmgError, match='no config.json'):
        read_weights(tracks, NET)
    with pytest.raises(LadmgError, match='mono'):
        run(tmp_path/'run', tracks, net=dict(audio_channels=2))


@pytest.mark.slow
def test_a_run_refuses_foreign_weights(tmp_path, tracks):
    save_file({'a': torch.zeros(1)}, tmp_path/'foreign.safetensors')
    with pytest.raises(LadmgError, match='another network'):
        run(tmp_path/'run', tracks, init=tmp_path/'foreign.safetensors')


def test_a_run_stopped_anywhere_ends_as_one_that_was_not(tmp_path, finished):
    whole, tracks = finished
    parts = tmp_path/'parts'
    for stop in (('spectral', 4), ('quantised', 2), None):
        run(parts, tracks, stop, init='random')
    for phase in ('spectral', 'quantised'):
        a, b = (load_file(folder/phase/'checkpoint.safetensors') for folder in (whole, parts))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    rows, again = ([(r['phase'], r['step'], r['loss']) for r in read_log(folder)] for folder in (whole, parts))
    assert rows == again
    assert len(rows) == 4
    assert all(math.isfinite(loss) for *_, loss in rows)


def test_a_run_leaves_a_codec_with_a_quantiser(finished):
    whole, _ = finished
    codec = Encodec.from_pretrained(whole/'model')
    wave = render_loop(5, 150, bars=1).waveform[None, :, :32000]
    z = codec.encode(wave)
    errors = [(codec.encode(wave, bandwidth=kbps)-z).square().mean() for kbps in codec.model.target_bandwidths]
    assert errors == sorted(errors, reverse=True)
    assert codec.decode(z).shape == wave.shape
    assert json.loads((whole/'sound.json').read_text())['held tracks']


def test_a_run_begins_with_another(tmp_path, finished):
    first, tracks = finished
    wave = render_loop(5, 150, bars=1).waveform[None, :, :32000]
    codec = Encodec.from_pretrained(first/'model')
    state = run(tmp_path/'second', tracks, init=first, steps=1, quantised=0, lr=0., ema=0.)
    before = codec.decode(codec.encode(wave))
    torch.testing.assert_close(state.ema.decode(state.ema.encode(wave)), before, atol=2e-3, rtol=1e-2)


def test_the_command_begins_with_another_run_and_names_what_it_skips(tmp_path, finished):
    first, _ = finished
    tracks = folder_of_tracks(tmp_path/'tracks')
    (tracks/'text.mp3').write_text('no music')
    args = ['train-codec', tracks, '--out', tmp_path/'run', '--init', first, '--loops', 0, '--steps', 2,
            '--quantised', 0, '--clips', 2, '--valid-every', 2]
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exit_code == 0, result.output
    assert 'skipped text.mp3: text.mp3 cannot be read' in result.stdout
    assert 'spectral step 2: loss' in result.stdout
    assert 'tracks sdr' in result.stdout
    assert Encodec.from_pretrained(tmp_path/'run'/'model').channels == 4
    again = CliRunner().invoke(app, [*map(str, args)])
    assert again.exit_code == 0, again.output
    assert 'is finished, more --steps go on' in again.stdout
    assert 'nan' not in again.stdout
