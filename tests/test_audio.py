"Sound files, read back by readers that share no code with ours; bad files; crashes; circles; mastering; spectra."
import errno
import hashlib
import io
import os
import resource
import struct
import wave
from contextlib import contextmanager

import av
import mutagen.flac
import mutagen.wave
import numpy as np
import pytest
import scipy.io.wavfile
import soundfile as sf
import torch

from ladmg.audio import FIELDS, Loop, close_loop, fit_length, join_step, loop_samples
from ladmg.audio import mel_db, mp3, pad_circle, player, plot, toy_loop
from ladmg.core import LadmgError
from ladmg.files import read_audio
from ladmg.mastering import CEILING, limiter_gain, loudness, master, mastering_gain
from ladmg.spectral import Mel, band_bank, band_power, onset_peaks, onsets_by_band


@pytest.fixture
def loop():
    "Odd number of samples, stereo, every field filled with something awkward."
    n = loop_samples(126, 2, 24000)
    wave = np.random.default_rng(0).uniform(-.9, .9, (2, n))
    onsets = {'kick': np.arange(8)*60/126+1e-9, 'clap': np.array([])}
    tags = {'kick': True, 'clap': False}
    captions = ['a “dark” loop – Größe 2', '']
    recipe = {
        'seed': 2**62,
        'prompt': None,
        'steps': 12,
        'guidance_scale': {'rhythm': 1.5},
        'model': ['unet', '0123456789ab'],
    }
    return Loop(wave, 24000, 126, 2, onsets=onsets, tags=tags, captions=captions, recipe=recipe)

def chunks(path):
    "name → data of every chunk of a RIFF file, with `LIST INFO` opened; it fails where a size or a pad byte is off."
    content = path.read_bytes()
    riff, size, kind = struct.unpack_from('<4sI4s', content)
    assert (riff, kind, size) == (b'RIFF', b'WAVE', len(content)-8)
    found = {}
    at = 12
    while at < len(content):
        name, size = struct.unpack_from('<4sI', content, at)
        start = at+8
        stop = start+size
        assert name not in found
        assert stop <= len(content)
        found[name] = content[start:stop]
        at = stop+size % 2
    assert at == len(content)
    info = found.pop(b'LIST')
    assert info[:4] == b'INFO'
    name, size = struct.unpack_from('<4sI', info, 4)
    return found | {name: info[12:12+size]}

def write_ffmpeg(path, x, sr, codec): # x (C, S)
    with av.open(str(path), 'w') as f:
        layout = {1: 'mono', 2: 'stereo'}[len(x)]
        stream = f.add_stream(codec, rate=sr, layout=layout)
        samples = np.ascontiguousarray(x, np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format='fltp', layout=layout)
        frame.sample_rate = sr
        f.mux(stream.encode(frame))
        f.mux(stream.encode(None))


# Writing

@pytest.mark.parametrize('channels,bpm,bars', [(1, 126, 2), (2, 93.7, 1), (1, None, None), (1, 120, None)])
def test_wav_chunks(tmp_path, channels, bpm, bars):
    n = loop_samples(bpm, bars, 24000) if bars else 48001
    Loop(np.zeros((channels, n)), 24000, bpm, bars).save(tmp_path/'a.wav')
    found = chunks(tmp_path/'a.wav')
    header = struct.unpack('<HHIIHH', found[b'fmt '][:16])
    assert header == (1, channels, 24000, 24000*3*channels, 3*channels, 24)
    assert len(found[b'data']) == 3*channels*n
    smpl = struct.unpack('<15I', found[b'smpl'])
    assert smpl == (0, 0, 41667, 60, 0, 0, 0, 1, 0, 0, 0, 0, n-1, 0, 0) # forward, 0 to n − 1 inclusive, for ever
    comment = found[b'ICMT']
    assert comment.endswith(b'}\0')
    assert comment.isascii()
    if bpm is None:
        assert b'acid' not in found
        return
    flags, root, _, _, beats, den, num, tempo = struct.unpack('<IHHfIHHf', found[b'acid'])
    assert flags & 7 == 4 # a loop, to be stretched, without a root note
    assert beats == (4*bars if bars else 4)
    assert (num, den, tempo) == (4, 4, np.float32(bpm))

@pytest.mark.filterwarnings('ignore:Chunk .non-data. not understood') # scipy skips `smpl` and `acid`
def test_wav_read_by_others(tmp_path, loop):
    file = tmp_path/'a.wav'
    loop.save(file)
    sr, x = scipy.io.wavfile.read(file)
    assert sr == 24000
    assert np.abs(x.T/2**31-loop.waveform.numpy()).max() < 2**-23
    with wave.open(str(file)) as w:
        assert w.getnframes() == 91429
        assert w.getnchannels() == 2
        assert w.getsampwidth() == 3
        assert w.getframerate() == 24000
    info = mutagen.wave.WAVE(file).info
    assert info.length == pytest.approx(loop.seconds, abs=1e-4)
    assert info.bits_per_sample == 24
    with av.open(str(file)) as a:
        assert '"bpm": 126.0' in a.metadata['comment']

def test_flac_read_by_others(tmp_path, loop):
    file = tmp_path/'a.flac'
    loop.save(file)
    read = mutagen.flac.FLAC(file)
    assert read['bpm'] == ['126']
    assert '"bars": 2' in read['description'][0] # FFmpeg's comment is Vorbis' DESCRIPTION
    info = read.info
    assert info.total_samples == 91429
    assert (info.sample_rate, info.channels, info.bits_per_sample) == (24000, 2, 24)
    x, _ = sf.read(file, dtype='int32')
    assert np.abs(x.T/2**31-loop.waveform.numpy()).max() < 2**-23
    integers = np.ascontiguousarray(x >> 8).astype('<i4')
    three_bytes = integers.view(np.uint8).reshape(-1, 4)[:, :3]
    checksum = hashlib.md5(three_bytes.tobytes()).digest()
    assert info.md5_signature == int.from_bytes(checksum, 'big') # the stream's own still holds

@pytest.mark.parametrize('name', ['a.wav', 'a.flac', 'a.WAV'])
def test_round_trip(tmp_path, loop, name):
    file = tmp_path/name
    loop.save(file)
    again = Loop.load(file)
    for field in FIELDS:
        np.testing.assert_equal(getattr(again, field), getattr(loop, field))
    assert again.sample_rate == loop.sample_rate
    assert (again.waveform-loop.waveform).abs().max() <= 2**-24*1.01
    first = file.read_bytes()
    again.save(file)
    assert file.read_bytes() == first

def test_full_scale_survives(tmp_path):
    x = np.array([1, -1, 1-2**-23, -1+2**-23, .75, 2**-23, 0])
    file = tmp_path/'a.wav'
    Loop(x, 24000).save(file)
    expected = np.r_[1-2**-23, x[1:]].astype(np.float32)
    np.testing.assert_array_equal(Loop.load(file).waveform[0], expected)

def test_too_loud_is_turned_down(tmp_path, loop):
    hot = Loop(3*loop.waveform, 24000)
    file = tmp_path/'a.wav'
    with pytest.warns(UserWarning, match=r'8\.6 dB above full scale.*a\.wav'):
        hot.save(file)
    back = Loop.load(file).waveform
    peak = hot.waveform.abs().max()
    assert back.abs().max() <= 1
    assert (back-hot.waveform/peak).abs().max() < 2e-7

DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

def failing(error):
    def fail(*arguments, **settings):
        raise error
    return fail

def failing_half_way(error):
    def write_bytes(path, data):
        path.open('wb').write(data[:len(data)//2])
        raise error
    return write_bytes

@contextmanager
def file_size_limit(size):
    "The system itself refuses to write more."
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

def check_failed_save(file, loop, error, says=None):
    "Nothing of the old file is lost, and nothing is left beside it."
    old = file.read_bytes()
    new = Loop(loop.waveform*.5, 24000)
    with pytest.raises(error, match=says):
        new.save(file)
    assert file.read_bytes() == old
    assert os.listdir(file.parent) == [file.name]

@pytest.fixture(params=['a.wav', 'a.flac'])
def saved(request, tmp_path, loop):
    "A file with the loop in it."
    loop.save(tmp_path/request.param)
    return tmp_path/request.param

def test_an_encoder_that_fails_leaves_the_old_file(saved, loop, monkeypatch):
    monkeypatch.setattr(sf, 'write', failing(DISK_FULL))
    check_failed_save(saved, loop, LadmgError, 'disk is full')

def test_a_full_disk_leaves_the_old_file(saved, loop, monkeypatch):
    monkeypatch.setattr('pathlib.Path.write_bytes', failing_half_way(DISK_FULL))
    check_failed_save(saved, loop, LadmgError, 'disk is full')

def test_an_interrupt_leaves_the_old_file(saved, loop, monkeypatch):
    monkeypatch.setattr('pathlib.Path.write_bytes', failing_half_way(KeyboardInterrupt()))
    check_failed_save(saved, loop, KeyboardInterrupt)

def test_a_quota_leaves_the_old_file(saved, loop):
    with file_size_limit(100_000):
        check_failed_save(saved, loop, LadmgError, 'File too large')

BAD_PLACES = [
    ('a.mp3', 'as .wav or .flac'),
    ('a', 'as .wav or .flac'),
    ('file/a.wav', 'Cannot write'),
]

@pytest.mark.parametrize('name,says', BAD_PLACES)
def test_bad_places(tmp_path, loop, name, says):
    (tmp_path/'file').touch()
    with pytest.raises(LadmgError, match=says):
        loop.save(tmp_path/name)

def test_recipe_must_be_json(tmp_path, loop):
    loop.recipe['solver'] = len
    with pytest.raises(LadmgError, match='JSON'):
        loop.save(tmp_path/'a.wav')
    loop.recipe['solver'] = np.float32(.5) # numbers of numpy and torch are numbers
    loop.save(tmp_path/'a.wav')
    assert Loop.load(tmp_path/'a.wav').recipe['solver'] == .5

@pytest.mark.parametrize('comment', ['made on a Tuesday', '{"a": 1}', '[1]', '{"ladmg"'])
def test_foreign_comments(tmp_path, comment):
    with sf.SoundFile(tmp_path/'a.wav', 'w', 24000, 1) as f:
        f.comment = comment
        f.write(np.zeros(100))
    loop = Loop.load(tmp_path/'a.wav')
    assert (loop.bpm, loop.beats, loop.recipe) == (None, None, {})


# Reading

AAC = ('.m4a', '.mp4', '.mkv')

def write_two_tones(file):
    "Stereo at 44.1 kHz: 500 Hz and 3 kHz for two seconds."
    t = np.arange(2*44100)/44100
    left = .8*np.sin(2*np.pi*500*t)
    right = .4*np.sin(2*np.pi*3000*t)
    x = np.stack([left, right])
    if file.suffix in AAC:
        write_ffmpeg(file, x, 44100, 'aac')
    else:
        sf.write(file, x.T, 44100)

FORMATS = ['a.wav', 'a.flac', 'a.mp3', 'a.ogg', 'a.m4a', 'a.mp4', 'a.mkv', 'a b%20ü:1.m4a']

@pytest.mark.parametrize('name', FORMATS)
def test_read(tmp_path, name):
    "As mono at 24 kHz: the tones of both channels at half their level, nothing else, and the right length."
    file = tmp_path/name
    write_two_tones(file)
    y, sr = read_audio(file, sample_rate=24000)
    assert sr == 24000
    assert y.dtype == torch.float32
    assert y.shape[0] == 1
    longer = 2*1024 if file.suffix in AAC else 0 # two frames of run-up and padding
    assert 0 <= y.shape[1]-48000 <= longer
    second = y[0, 12000:36000].numpy()
    spectrum = np.abs(np.fft.rfft(second*np.hanning(24000)))/6000 # 1 Hz a bin
    assert spectrum[500] == pytest.approx(.4, abs=.02)
    assert spectrum[3000] == pytest.approx(.2, abs=.02)
    spectrum[490:511] = 0
    spectrum[2990:3011] = 0
    assert spectrum.max() < .01

@pytest.mark.parametrize('name', FORMATS)
def test_read_a_part(tmp_path, name):
    file = tmp_path/name
    write_two_tones(file)
    whole, sr = read_audio(file, mono=False)
    assert sr == 44100
    assert whole.shape[0] == 2
    for start, seconds in ((0, .1), (.5, .25), (1.9, 5)):
        part, _ = read_audio(file, mono=False, start=start, seconds=seconds)
        first = round(start*44100)
        last = first+round(seconds*44100)
        torch.testing.assert_close(part, whole[:, first:last], atol=1e-3, rtol=0)

def write_bad_files(folder):
    rng = np.random.default_rng(0)
    (folder/'folder').mkdir()
    (folder/'empty.wav').touch()
    (folder/'notes.txt').write_text('kick\n'*999)
    (folder/'headerless.raw').write_bytes(bytes(100))
    (folder/'noise.mp3').write_bytes(rng.bytes(999))
    (folder/'torn.m4a').write_bytes(b'\0\0\0\x1cftypM4A \0\0\2\0isomiso2'+bytes(50))
    sf.write(folder/'none.wav', np.zeros((0, 1)), 24000)
    sf.write(folder/'nan.wav', np.array([0., np.nan]), 24000, 'FLOAT')
    sf.write(folder/'inf.wav', np.array([0., np.inf]), 24000, 'FLOAT')
    sf.write(folder/'whole.flac', rng.uniform(-1, 1, 48000), 24000)
    whole = (folder/'whole.flac').read_bytes()
    (folder/'torn.flac').write_bytes(whole[:50000])
    write_silent_film(folder/'silent_film.mp4')

def write_silent_film(file):
    with av.open(str(file), 'w') as f:
        stream = f.add_stream('mpeg4', rate=24)
        stream.width = 64
        stream.height = 64
        stream.pix_fmt = 'yuv420p'
        frame = av.VideoFrame(64, 64, 'yuv420p')
        f.mux(stream.encode(frame))
        f.mux(stream.encode(None))

BAD_FILES = {
    'missing.wav': 'no file',
    'folder': 'is a folder',
    'empty.wav': 'empty file of 0 bytes',
    'none.wav': 'no samples',
    'notes.txt': 'cannot be read',
    'noise.mp3': 'cannot be read',
    'headerless.raw': 'cannot be read',
    'torn.m4a': 'cannot be read',
    'torn.flac': 'cannot be read',
    'nan.wav': 'NaN or infinite',
    'inf.wav': 'NaN or infinite',
    'silent_film.mp4': 'no sound in it',
}

@pytest.mark.parametrize('name,says', BAD_FILES.items())
def test_bad_files(tmp_path, name, says):
    write_bad_files(tmp_path)
    for read in (read_audio, Loop.load):
        with pytest.raises(LadmgError, match=says) as error:
            read(tmp_path/name)
        sentence = str(error.value)
        assert name in sentence
        assert sentence.endswith('.')
        assert '\n' not in sentence

BAD_WAVEFORMS = [
    (np.zeros(0), 'empty'),
    (np.zeros((2, 0)), 'empty'),
    (np.array([np.nan]), 'NaN'),
    (np.array([1, -np.inf]), 'infinite'),
    (np.zeros((1, 2, 3)), 'shape'),
    (0., 'shape'),
]

@pytest.mark.parametrize('wave,says', BAD_WAVEFORMS)
def test_bad_waveforms(wave, says):
    with pytest.raises(LadmgError, match=says):
        Loop(wave, 24000)

def test_bad_tempo():
    with pytest.raises(LadmgError, match='between 20 and 400'):
        Loop(np.zeros(9), 24000, bpm=1260)


# The circle

def harmonics(n): # → (2, 1, n)
    turn = 2*np.pi*np.arange(n)/n
    wave = sum(np.cos(k*turn+k) for k in (0, 1, 7, 400))
    return torch.from_numpy(wave).float().expand(2, 1, n)

@pytest.mark.parametrize('a,b', [(182857, 182400), (182400, 182857), (9973, 10007), (1001, 1000), (1000, 1001)])
def test_fit_length(a, b):
    "A sum of harmonics becomes the same sum on the new grid, whatever the lengths."
    torch.testing.assert_close(fit_length(harmonics(a), b), harmonics(b), atol=1e-6, rtol=1e-6)

def test_player_keeps_the_length(loop):
    "The MP3 in a notebook decodes to exactly the loop's samples, in libsndfile and in FFmpeg."
    clip = mp3(loop)
    samples = loop.waveform.shape[1]
    decoded, _ = sf.read(io.BytesIO(clip))
    assert len(decoded) == samples
    with av.open(io.BytesIO(clip)) as f:
        assert sum(frame.samples for frame in f.decode(audio=0)) == samples
    html = player(loop)
    assert ' loop ' in html
    assert ' controls ' in html

@pytest.mark.parametrize('before,after', [(0, 0), (3, 2), (7, 7), (20, 0), (0, 15)])
def test_pad_circle(before, after):
    "As numpy wraps, whatever the length, for arrays and tensors."
    x = np.arange(14.).reshape(2, 7)
    wanted = np.pad(x, ((0, 0), (before, after)), mode='wrap')
    np.testing.assert_array_equal(pad_circle(x, before, after), wanted)
    np.testing.assert_array_equal(pad_circle(torch.from_numpy(x), before, after).numpy(), wanted)

def test_a_closed_loop_has_no_join():
    tone = torch.sin(torch.arange(24000+4800)*.05).expand(2, 1, -1)
    ring = close_loop(tone, 4800)
    assert ring.shape == (2, 1, 24000)
    assert join_step(ring[0]) < 1.1 < join_step(tone[0, :, :24000])
    assert torch.equal(ring[..., 4800:], tone[..., 4800:24000])


# A loop

def test_beats_that_are_given_stay():
    tracked = Loop(np.zeros(48000), 24000, bpm=120, bars=1, beats=[.1, .6, 1.1, 1.6])
    np.testing.assert_array_equal(tracked.beats, [.1, .6, 1.1, 1.6])
    assert tracked.downbeats is None
    assert Loop(torch.zeros(2, 10, dtype=torch.float64), 24000).beats is None

def test_a_loop_in_words():
    assert repr(Loop(np.zeros((2, 24000)), 24000)) == 'Loop(1.00 s, 24000 Hz, stereo)'
    assert repr(toy_loop()) == 'Loop(3.81 s, 24000 Hz, mono, 126 BPM, 2 bars)'

def test_stems_are_waveforms_and_are_not_saved(tmp_path):
    loop = Loop(np.zeros(100), 24000, stems={'kick': np.ones(100)})
    assert loop.stems['kick'].shape == (1, 100) and loop.stems['kick'].dtype == torch.float32
    loop.save(tmp_path/'a.wav')
    assert Loop.load(tmp_path/'a.wav').stems is None

def test_the_spectrogram_goes_round():
    silence, _ = mel_db(Loop(np.zeros(500), 24000))
    assert silence.max() < -30
    late = Loop(np.r_[np.zeros(23900), np.ones(100)], 24000) # a hit on the last samples …
    mel, _ = mel_db(late)
    middle = mel.shape[1]//2
    assert mel[:, 0].max() > -25 # … sounds at the start
    assert mel[:, middle].max() < -60

def test_a_title_is_no_formula(tmp_path):
    plot(Loop(np.zeros(500), 24000, captions=[r'$\no maths$']), tmp_path/'a.png')
    assert (tmp_path/'a.png').read_bytes()[1:4] == b'PNG'


# Mastering

@pytest.mark.parametrize('sr', [16000, 24000, 44100, 48000])
def test_a_tone_is_as_loud_as_the_recommendation_says(sr):
    tone = np.sin(2*np.pi*997*np.arange(sr)/sr)[None]
    assert loudness(tone, sr) == pytest.approx(-3.01, abs=.1)
    assert loudness(np.concatenate([tone, tone]), sr) == pytest.approx(0, abs=.1)  # two channels add up

@pytest.mark.parametrize('target', [-20., -12., None])
def test_mastered(target):
    wave = toy_loop().waveform
    out = master(wave, 24000, target)
    assert out.abs().max() <= CEILING*1.0001
    if target:
        assert loudness(out.numpy(), 24000) == pytest.approx(target, abs=.5)
    stems = wave*torch.tensor([[.3], [.7]])
    gain = mastering_gain(wave.numpy(), 24000, target)
    mastered_stems = stems.numpy()*gain
    np.testing.assert_allclose(mastered_stems.sum(0), wave[0].numpy()*gain, atol=1e-6)

def test_the_limiter_goes_round_and_is_idle_below_the_ceiling():
    x = np.zeros(5000, np.float32)
    x[0] = 3
    gain = limiter_gain(x, 24000)
    assert gain[0]*3 <= CEILING*1.0001
    assert gain[-20] < .9
    assert gain[2500] == 1
    assert (limiter_gain(x/10, 24000) == 1).all()

def test_what_is_long_is_mastered_piece_by_piece():
    from ladmg import mastering
    wave = toy_loop(126, 4).waveform
    whole = mastering_gain(2*wave.numpy(), 24000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mastering, 'PIECE', 50_000)
        np.testing.assert_allclose(mastering_gain(2*wave.numpy(), 24000), whole, rtol=.01)
        gain = limiter_gain(3*wave[0].numpy(), 24000)
    np.testing.assert_allclose(gain, limiter_gain(3*wave[0].numpy(), 24000), atol=1e-5)


# Spectra

@pytest.mark.parametrize('f', [60., 1000., 9000.])
def test_a_sine_is_in_its_band(f):
    sine = np.sin(2*np.pi*f*np.arange(24000)/24000).astype(np.float32)
    bank = band_bank([20, 500, 5000, 12001], 960, 24000)
    power = band_power(sine, bank, 240, circular=True).mean(0)
    assert power.argmax() == np.searchsorted([500, 5000], f)
    assert power.max() == pytest.approx(1.5, abs=.01) and np.sort(power)[1] < 1e-4

def test_parts_and_whole_are_equal():
    "More frames than are taken at a time."
    x = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    bank = band_bank([0, 1000, 12000], 64, 24000)
    whole = band_power(x, bank, 16)
    assert len(whole) == 100_000//16+1 > 4096
    np.testing.assert_allclose(band_power(x[16*4000:], bank, 16)[10:], whole[4010:], rtol=1e-5)

@pytest.mark.parametrize('magnitude', [False, True])
def test_mels_go_round_and_have_gradients(magnitude):
    wave = toy_loop(120, 1).waveform
    mel = Mel(24000, 512, 120, 40, magnitude=magnitude)
    a = mel(wave)
    b = mel(wave.roll(1200, 1))
    assert a.shape == (1, 40, 400)
    torch.testing.assert_close(a.roll(10, 2), b, rtol=1e-3, atol=1e-5*a.max().item())
    silence = torch.zeros(1, 2400, requires_grad=True)
    mel(silence).sum().backward()
    assert silence.grad.isfinite().all()

def test_onsets_of_a_toy_loop():
    loop = toy_loop()
    x = loop.waveform[0].numpy()
    low, _, high = onsets_by_band(x, 24000, threshold=.7)
    np.testing.assert_allclose(low, loop.onsets['kick'], atol=.01)
    assert len(high) == 32
    turned = onsets_by_band(np.roll(x, 12345), 24000, threshold=.7)[0]
    wanted = np.sort((loop.onsets['kick']+12345/24000) % loop.seconds)
    np.testing.assert_allclose(turned, wanted, atol=.01)

def test_clicks_are_onset_peaks():
    clicks = np.zeros(48000)
    clicks[6000::6000] = 1
    seconds, prominence = onset_peaks(clicks, 24000)
    np.testing.assert_allclose(seconds[prominence > 1], np.arange(.25, 2, .25), atol=.003)
