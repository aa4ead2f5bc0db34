"Files of `ladmg.audio`, read back by readers that share no code with it; bad files; crashes."
import errno, hashlib, io, os, resource, struct, wave

import av
import mutagen.flac, mutagen.wave
import numpy as np
import pytest
import scipy.io.wavfile
import soundfile as sf
import torch

from ladmg.audio import FIELDS, Loop, fit_length, loop_samples, mp3, player, read_audio
from ladmg.core import LadmgError


@pytest.fixture
def loop():
    "Odd number of samples, stereo, every field filled with something awkward."
    rng, n = np.random.default_rng(0), loop_samples(126, 2, 24000)
    return Loop(rng.uniform(-.9, .9, (2, n)), 24000, 126, 2, onsets={'kick': np.arange(8)*60/126+1e-9, 'clap': np.array([])},
                tags={'kick': True, 'clap': False}, captions=['a “dark” loop – Größe 2', ''],
                recipe={'seed': 2**62, 'prompt': None, 'steps': 12, 'guidance': {'rhythm': 1.5}, 'model': ['unet', '0123456789ab']})

def chunks(path):
    "name → data of every chunk of a RIFF file, with `LIST INFO` opened; a size or a pad byte that is off makes it fail."
    b = path.read_bytes()
    riff, size, kind = struct.unpack_from('<4sI4s', b)
    assert (riff, kind, size) == (b'RIFF', b'WAVE', len(b)-8)
    out, at = {}, 12
    while at < len(b):
        name, n = struct.unpack_from('<4sI', b, at)
        assert name not in out and at+8+n <= len(b)
        out[name], at = b[at+8:at+8+n], at+8+n+n % 2
    assert at == len(b)
    info = out.pop(b'LIST')
    assert info[:4] == b'INFO'
    name, n = struct.unpack_from('<4sI', info, 4)
    return out | {name: info[12:12+n]}

def write_ffmpeg(path, x, sr, codec): # x (C, S)
    with av.open(str(path), 'w') as f:
        s = f.add_stream(codec, rate=sr, layout={1: 'mono', 2: 'stereo'}[len(x)])
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(x, np.float32), format='fltp', layout=s.layout.name)
        frame.sample_rate = sr
        f.mux(s.encode(frame)); f.mux(s.encode(None))


# Writing

@pytest.mark.parametrize('channels,bpm,bars', [(1, 126, 2), (2, 93.7, 1), (1, None, None), (1, 120, None)])
def test_wav_chunks(tmp_path, channels, bpm, bars):
    n = loop_samples(bpm, bars, 24000) if bars else 48001
    Loop(np.zeros((channels, n)), 24000, bpm, bars).save(tmp_path/'a.wav')
    c = chunks(tmp_path/'a.wav')
    assert struct.unpack('<HHIIHH', c[b'fmt '][:16]) == (1, channels, 24000, 24000*3*channels, 3*channels, 24)
    assert len(c[b'data']) == 3*channels*n
    smpl = struct.unpack('<15I', c[b'smpl'])
    assert smpl == (0, 0, 41667, 60, 0, 0, 0, 1, 0, 0, 0, 0, n-1, 0, 0) # forward, 0 to n − 1 inclusive, for ever
    if bpm is None: assert b'acid' not in c
    else:
        flags, root, _, _, beats, den, num, tempo = struct.unpack('<IHHfIHHf', c[b'acid'])
        assert not flags & 1 and flags & 4 and not flags & 2 # a loop, to be stretched, without a root note
        assert (beats, num, den, tempo) == (4*bars if bars else 4, 4, 4, np.float32(bpm))
    assert c[b'ICMT'].endswith(b'}\0') and c[b'ICMT'].isascii()

@pytest.mark.filterwarnings('ignore:Chunk .non-data. not understood') # scipy skips `smpl` and `acid`
def test_wav_read_by_others(tmp_path, loop):
    loop.save(f := tmp_path/'a.wav')
    sr, x = scipy.io.wavfile.read(f)
    assert sr == 24000 and np.abs(x.T/2**31-loop.waveform.numpy()).max() < 2**-23
    with wave.open(str(f)) as w: assert (w.getnframes(), w.getnchannels(), w.getsampwidth(), w.getframerate()) == (91429, 2, 3, 24000)
    info = mutagen.wave.WAVE(f).info
    assert info.length == pytest.approx(loop.seconds, abs=1e-4) and info.bits_per_sample == 24
    with av.open(str(f)) as a: assert '"bpm": 126.0' in a.metadata['comment']

def test_flac_read_by_others(tmp_path, loop):
    loop.save(f := tmp_path/'a.flac')
    m = mutagen.flac.FLAC(f)
    assert m['bpm'] == ['126'] and '"bars": 2' in m['description'][0] # FFmpeg's comment is Vorbis' DESCRIPTION
    assert (m.info.total_samples, m.info.sample_rate, m.info.channels, m.info.bits_per_sample) == (91429, 24000, 2, 24)
    x, _ = sf.read(f, dtype='int32')
    assert np.abs(x.T/2**31-loop.waveform.numpy()).max() < 2**-23
    raw = np.ascontiguousarray(x >> 8).astype('<i4').view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    assert m.info.md5_signature == int.from_bytes(hashlib.md5(raw).digest(), 'big') # the stream's own checksum still holds

@pytest.mark.parametrize('name', ['a.wav', 'a.flac', 'a.WAV'])
def test_round_trip(tmp_path, loop, name):
    loop.save(f := tmp_path/name); again = Loop.load(f)
    for k in FIELDS: np.testing.assert_equal(getattr(again, k), getattr(loop, k))
    assert again.sample_rate == loop.sample_rate
    assert (again.waveform-loop.waveform).abs().max() <= 2**-24*1.01
    first = f.read_bytes(); again.save(f)
    assert f.read_bytes() == first

def test_full_scale_survives(tmp_path):
    x = np.array([1, -1, 1-2**-23, -1+2**-23, .75, 2**-23, 0])
    Loop(x, 24000).save(f := tmp_path/'a.wav')
    np.testing.assert_array_equal(Loop.load(f).waveform[0], np.r_[1-2**-23, x[1:]].astype(np.float32))

def test_too_loud_is_turned_down(tmp_path, loop):
    hot = Loop(3*loop.waveform, 24000)
    with pytest.warns(UserWarning, match=r'8\.6 dB above full scale.*a\.wav'): hot.save(f := tmp_path/'a.wav')
    back, peak = Loop.load(f).waveform, hot.waveform.abs().max()
    assert back.abs().max() <= 1 and (back-hot.waveform/peak).abs().max() < 2e-7

@pytest.mark.parametrize('name', ['a.wav', 'a.flac'])
@pytest.mark.parametrize('how', ['soundfile', 'write', 'quota', 'interrupt'])
def test_failed_save_leaves_the_old_file(tmp_path, loop, monkeypatch, name, how):
    loop.save(f := tmp_path/name); old = f.read_bytes()
    new, limit = Loop(loop.waveform*.5, 24000), resource.getrlimit(resource.RLIMIT_FSIZE)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    def fail(*a, **k): raise KeyboardInterrupt if how == 'interrupt' else full
    def half(self, data): self.open('wb').write(data[:len(data)//2]); fail()
    if how == 'soundfile': monkeypatch.setattr(sf, 'write', fail)
    elif how != 'quota': monkeypatch.setattr('pathlib.Path.write_bytes', half)
    error, says = {'interrupt': (KeyboardInterrupt, None), 'quota': (LadmgError, 'File too large')}.get(how, (LadmgError, 'disk is full'))
    try:
        if how == 'quota': resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1])) # the system itself refuses, half-way
        with pytest.raises(error, match=says): new.save(f)
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert f.read_bytes() == old and os.listdir(tmp_path) == [name]

@pytest.mark.parametrize('name,says', [('a.mp3', 'as .wav or .flac'), ('a', 'as .wav or .flac'), ('file/a.wav', 'Cannot write')])
def test_bad_places(tmp_path, loop, name, says):
    (tmp_path/'file').touch()
    with pytest.raises(LadmgError, match=says): loop.save(tmp_path/name)

def test_recipe_must_be_json(tmp_path, loop):
    loop.recipe['solver'] = len
    with pytest.raises(LadmgError, match='JSON'): loop.save(tmp_path/'a.wav')
    loop.recipe['solver'] = np.float32(.5); loop.save(tmp_path/'a.wav') # numbers of numpy and torch are numbers
    assert Loop.load(tmp_path/'a.wav').recipe['solver'] == .5

@pytest.mark.parametrize('comment', ['made on a Tuesday', '{"a": 1}', '[1]', '{"ladmg"'])
def test_foreign_comments(tmp_path, comment):
    with sf.SoundFile(tmp_path/'a.wav', 'w', 24000, 1) as f: f.comment = comment; f.write(np.zeros(100))
    l = Loop.load(tmp_path/'a.wav')
    assert (l.bpm, l.beats, l.recipe) == (None, None, {})


# Reading

@pytest.mark.parametrize('name', ['a.wav', 'a.flac', 'a.mp3', 'a.ogg', 'a.m4a', 'a.mp4', 'a.mkv', 'a b%20ü:1.m4a'])
def test_read(tmp_path, name):
    "Stereo at 44.1 kHz → mono at 24 kHz: the tones of both channels at half their level, nothing else, and the right length."
    t = np.arange(2*44100)/44100
    x, f = np.stack([.8*np.sin(2*np.pi*500*t), .4*np.sin(2*np.pi*3000*t)]), tmp_path/name
    if f.suffix in ('.wav', '.flac', '.mp3', '.ogg'): sf.write(f, x.T, 44100)
    else: write_ffmpeg(f, x, 44100, 'aac')
    y, sr = read_audio(f, sample_rate=24000)
    assert sr == 24000 and y.dtype == torch.float32 and y.shape[0] == 1
    aac = f.suffix in ('.m4a', '.mp4', '.mkv')
    assert 0 <= y.shape[1]-48000 <= (2*1024 if aac else 0) # AAC: two frames of run-up and padding
    spec = np.abs(np.fft.rfft(y[0, 12000:36000].numpy()*np.hanning(24000)))/6000 # 1 Hz a bin
    assert spec[500] == pytest.approx(.4, abs=.02) and spec[3000] == pytest.approx(.2, abs=.02)
    spec[[*range(490, 511), *range(2990, 3011)]] = 0
    assert spec.max() < .01
    whole, sr = read_audio(f, mono=False)
    assert sr == 44100 and whole.shape[0] == 2
    for start, seconds in ((0, .1), (.5, .25), (1.9, 5)):
        part = read_audio(f, mono=False, start=start, seconds=seconds)[0]
        a = round(start*44100)
        torch.testing.assert_close(part, whole[:, a:a+round(seconds*44100)], atol=1e-3, rtol=0)

def bad_files(d):
    (d/'folder').mkdir(); (d/'empty.wav').touch(); (d/'notes.txt').write_text('kick\n'*999); (d/'headerless.raw').write_bytes(bytes(100))
    (d/'noise.mp3').write_bytes(np.random.default_rng(0).bytes(999))
    (d/'torn.m4a').write_bytes(b'\0\0\0\x1cftypM4A \0\0\2\0isomiso2'+bytes(50))
    sf.write(d/'none.wav', np.zeros((0, 1)), 24000)
    for name, v in (('nan.wav', np.nan), ('inf.wav', np.inf)): sf.write(d/name, np.array([0., v]), 24000, 'FLOAT')
    sf.write(d/'whole.flac', np.random.default_rng(0).uniform(-1, 1, 48000), 24000)
    (d/'torn.flac').write_bytes((d/'whole.flac').read_bytes()[:50000])
    with av.open(str(d/'silent_film.mp4'), 'w') as f: # a video without sound
        s = f.add_stream('mpeg4', rate=24); s.width = s.height = 64; s.pix_fmt = 'yuv420p'
        f.mux(s.encode(av.VideoFrame(64, 64, 'yuv420p'))); f.mux(s.encode(None))

@pytest.mark.parametrize('name,says', [
    ('missing.wav', 'no file'), ('folder', 'is a folder'), ('empty.wav', 'empty file of 0 bytes'), ('none.wav', 'no samples'),
    ('notes.txt', 'cannot be read'), ('noise.mp3', 'cannot be read'), ('headerless.raw', 'cannot be read'), ('torn.m4a', 'cannot be read'),
    ('torn.flac', 'cannot be read'), ('nan.wav', 'NaN or infinite'), ('inf.wav', 'NaN or infinite'), ('silent_film.mp4', 'no sound in it')])
def test_bad_files(tmp_path, name, says):
    bad_files(tmp_path)
    for read in (read_audio, Loop.load):
        with pytest.raises(LadmgError, match=says) as e: read(tmp_path/name)
        assert name in str(e.value) and str(e.value).endswith('.') and '\n' not in str(e.value)

@pytest.mark.parametrize('wave,says', [
    (np.zeros(0), 'empty'), (np.zeros((2, 0)), 'empty'), (np.array([np.nan]), 'NaN'), (np.array([1, -np.inf]), 'infinite'),
    (np.zeros((1, 2, 3)), 'shape'), (0., 'shape')])
def test_bad_waveforms(wave, says):
    with pytest.raises(LadmgError, match=says): Loop(wave, 24000)

def test_bad_tempo():
    with pytest.raises(LadmgError, match='between 20 and 400'): Loop(np.zeros(9), 24000, bpm=1260)


# The circle

@pytest.mark.parametrize('a,b', [(182857, 182400), (182400, 182857), (9973, 10007), (1001, 1000), (1000, 1001)])
def test_fit_length(a, b):
    "A sum of harmonics becomes the same sum on the new grid, whatever the lengths."
    tones = lambda n: torch.from_numpy(sum(np.cos(2*np.pi*k*np.arange(n)/n+k) for k in (0, 1, 7, 400))).float().expand(2, 1, n)
    torch.testing.assert_close(fit_length(tones(a), b), tones(b), atol=1e-6, rtol=1e-6)

def test_player_keeps_the_length(loop):
    "The MP3 in a notebook decodes to exactly the loop's samples, in libsndfile and in FFmpeg, and leaves little behind."
    clip = mp3(loop)
    assert len(sf.read(io.BytesIO(clip))[0]) == loop.waveform.shape[1]
    with av.open(io.BytesIO(clip)) as f: assert sum(x.samples for x in f.decode(audio=0)) == loop.waveform.shape[1]
    assert ' loop ' in player(loop) and ' controls ' in player(loop)
