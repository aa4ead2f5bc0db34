"Training of a codec on what goes wrong: folders of junk, silence, foreign weights, a run stopped half way."
import json, math
import numpy as np, pytest, soundfile as sf, torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner
from ladmg.cli import app
from ladmg.codec import Codec, Hiss, build_encodec, mel_distance, onset_f, gaps
from ladmg.codec_training import NET, Clips, Trainee, codec_loss, gather, held_out, opus, read_log, start_from, train_codec
from ladmg.core import LadmgError
from ladmg.groovebox import render_loop

TINY = dict(steps=6, quantised=2, loops=0, every=2, valid_every=6, clips=2, seconds=.2, n_q=2, white_on=4, workers=1, net=dict(n_filters=2, dimension=4, lstm=0))

@pytest.fixture
def tracks(tmp_path):
    (tmp_path/'tracks').mkdir()
    for s in (1, 2): render_loop(s, 150, bars=1).save(tmp_path/'tracks'/f'{s}.wav')
    return tmp_path/'tracks'

def test_junk_and_silence_are_named_and_nothing_is_learnt_from_them(tmp_path):
    junk = tmp_path/'junk'; junk.mkdir()
    sf.write(junk/'silence.wav', np.zeros(48000), 24000); sf.write(junk/'nan.wav', np.full(48000, np.nan, np.float32), 24000, subtype='FLOAT')
    (junk/'text.mp3').write_text('no music'); (junk/'empty.flac').touch(); (junk/'notes.txt').write_text('not even a name of music')
    for loops in (0, 1):
        with pytest.raises(LadmgError, match='no sound that can be read'): gather(tmp_path/'sound', junk, loops=loops, workers=1)
    with pytest.raises(LadmgError, match='no folder'): gather(tmp_path/'sound', tmp_path/'nowhere', loops=0)
    with pytest.raises(LadmgError, match='Nothing to learn from'): gather(tmp_path/'sound', None, loops=0)
    render_loop(1, 150, bars=1).save(junk/'good.wav')
    files = gather(tmp_path/'sound', junk, loops=0, workers=1)
    assert len(files['tracks']) == 1 and not files['held tracks'] and set(files['skipped']) == {'silence.wav', 'nan.wav', 'text.mp3', 'empty.flac'}
    assert files['skipped']['silence.wav'] == 'silent' and 'NaN' in files['skipped']['nan.wav']

def test_a_track_is_held_out_of_each_folder_that_has_two(tmp_path):
    files = [tmp_path/d/f'{i}.wav' for d, n in (('a', 20), ('b', 2), ('c', 1)) for i in range(10, 10+n)]
    assert sorted(f.relative_to(tmp_path).as_posix() for f in held_out(files)) == ['a/10.wav', 'a/11.wav', 'b/10.wav']

def test_a_track_shorter_than_a_clip_is_repeated(tmp_path):
    np.save(tmp_path/'track-1.npy', np.arange(1, 101, dtype=np.int16))
    x = Clips([(1., [tmp_path/'track-1.npy'])], 3, 250, (0., 0.))(0)
    assert x.shape == (3, 1, 250) and torch.equal(x[0, 0, :100], x[0, 0, 100:200]) and (x != 0).all()

def test_a_batch_of_silence_gives_a_finite_step():
    torch.manual_seed(0); net = Trainee(dict(n_filters=2, dimension=4, lstm=0), filters=2)
    out = codec_loss(net, torch.zeros(2, 1, 6400)); out['loss'].backward()
    assert all(v.isfinite() for v in out.values()) and all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)

def test_hiss_is_saved_and_is_the_same_in_the_same_frame(tmp_path):
    torch.manual_seed(0); config = dict(n_filters=2, dimension=4, lstm=0, hiss=160); model = build_encodec(**config)
    with torch.no_grad(): model.decoder.hiss.net[3].bias += 4
    state = {k: v.clone() for k, v in model.state_dict().items()}
    Codec(model, config).save(tmp_path/'codec', state, '# A codec that hisses\n')
    codec, z = Codec.from_pretrained(tmp_path/'codec'), torch.randn(2, 4, 64)
    hiss = codec.decode(z)-codec.decode(z, hiss=False)
    assert hiss.std() > .05 and torch.equal(codec.decode(z), codec.decode(z))
    for way in (dict(circular=True), dict(chunk=24), dict(circular=True, chunk=24)):             # but for the rim of a piece
        torch.testing.assert_close((codec.decode(z, **way)-codec.decode(z, **way, hiss=False))[..., 640:-640], hiss[..., 640:-640], atol=2e-3, rtol=0)
    around = codec.decode(z, circular=True)-codec.decode(z, circular=True, hiss=False)
    assert (around[..., 0]-around[..., -1]).abs().max() < 2*around.diff().abs().max()            # no step at the join

def test_hiss_keeps_out_of_the_lows():
    torch.manual_seed(0); hiss = Hiss(4, 160, 40)
    with torch.no_grad(): hiss.net[3].bias += 12; noise = hiss(torch.zeros(1, 4, 600), torch.randn(1, 1, 24000))[0, 0]       # every gain is open
    power = torch.fft.rfft(noise).abs().square()                                                                    # a bin is 1 Hz
    assert power[:300].mean() < 1e-3*power[1000:].mean() and power[700:900].mean() > .5*power[1000:].mean()

def test_chunks_that_nobody_asked_for_change_nothing():
    torch.manual_seed(0); config = dict(n_filters=2, dimension=4, lstm=0); codec = Codec(build_encodec(**config), config)
    x, z = .1*torch.randn(2, 1, 600*codec.hop), torch.randn(2, 4, 600)
    for kw in ({}, dict(circular=True)):
        torch.testing.assert_close(codec.encode(x, **kw), codec.encode(x, chunk=600, **kw), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(codec.decode(z, **kw), codec.decode(z, chunk=600, **kw), atol=1e-5, rtol=1e-4)

def test_foreign_weights_are_refused_in_a_sentence(tmp_path, tracks):
    save_file({'a': torch.zeros(1)}, tmp_path/'foreign.safetensors'); (tmp_path/'broken.safetensors').write_bytes(b'junk')
    with pytest.raises(LadmgError, match='another network'): next(train_codec(tmp_path/'a', tracks, init=tmp_path/'foreign.safetensors', **TINY))
    with pytest.raises(LadmgError, match='damaged'): start_from(tmp_path/'broken.safetensors', NET)
    with pytest.raises(LadmgError, match='no config.json'): start_from(tracks, NET)
    with pytest.raises(LadmgError, match='mono'): next(train_codec(tmp_path/'b', tracks, **TINY | dict(net=dict(audio_channels=2))))

def test_a_run_stopped_anywhere_ends_as_one_that_was_not(tmp_path, tracks):
    for _ in train_codec(tmp_path/'whole', tracks, init='random', **TINY): pass
    for stop in (('spectral', 4), ('quantised', 2)):
        for phase, s in train_codec(tmp_path/'parts', tracks, init='random', **TINY):
            if (phase, s.step) == stop: break
    for _ in train_codec(tmp_path/'parts', tracks, init='random', **TINY): pass
    for phase in ('spectral', 'quantised'):
        a, b = (load_file(tmp_path/r/phase/'checkpoint.safetensors') for r in ('whole', 'parts'))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    rows = [[(r['phase'], r['step'], r['loss']) for r in read_log(tmp_path/r)] for r in ('whole', 'parts')]
    assert rows[0] == rows[1] and len(rows[0]) == 4 and all(math.isfinite(l) for *_, l in rows[0])
    codec = Codec.from_pretrained(tmp_path/'whole'/'model')
    wave = render_loop(5, 150, bars=1).waveform[None, :, :32000]
    assert codec.decode(codec.encode(wave, bandwidth=1.5)).shape == wave.shape and json.loads((tmp_path/'whole'/'sound.json').read_text())['held tracks']

def test_a_run_begins_with_another(tmp_path, tracks):
    for _ in train_codec(tmp_path/'first', tracks, init='random', **TINY): pass
    wave = render_loop(5, 150, bars=1).waveform[None, :, :32000]
    again = Codec.from_pretrained(tmp_path/'first'/'model')
    for phase, s in train_codec(tmp_path/'second', tracks, init=tmp_path/'first', **TINY | dict(steps=1, quantised=0, lr=0., ema=0.)): pass
    torch.testing.assert_close(s.ema.decode(s.ema.encode(wave)), again.decode(again.encode(wave)), atol=2e-3, rtol=1e-2)
    args = ['train-codec', tracks, '--out', tmp_path/'third', '--init', tmp_path/'first', '--loops', 0, '--steps', 2, '--quantised', 0, '--clips', 2, '--valid-every', 2]
    (tracks/'text.mp3').write_text('no music')
    said = CliRunner().invoke(app, [*map(str, args)])
    assert 'skipped text.mp3: text.mp3 cannot be read' in said.stdout
    assert said.exit_code == 0 and 'spectral step 2: loss' in said.stdout and 'tracks sdr' in said.stdout, said.output
    assert Codec.from_pretrained(tmp_path/'third'/'model').channels == 4
    again = CliRunner().invoke(app, [*map(str, args)])
    assert again.exit_code == 0 and 'is finished, more --steps go on' in again.stdout and 'nan' not in again.stdout, again.output

def test_opus_is_aligned_and_better_with_more_bits():
    x = render_loop(5, 150, bars=1).waveform
    rows = [opus(x, 24000, k) for k in (8, 32)]
    assert all(y.shape == x.shape and abs(rate-k) < .35*k for (y, rate), k in zip(rows, (8, 32)))
    d, f = [[s(x, y) for y, _ in rows] for s in (lambda a, b: mel_distance(a[None], b[None]).item(), lambda a, b: onset_f(a, b, 24000))]
    assert d[1] < .5*d[0] and f[1] >= f[0] and gaps(x, 24000).shape == (4,)
