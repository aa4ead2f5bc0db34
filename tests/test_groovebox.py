"The groovebox: odd sizes, every style, one-shots, and what is true of hundreds of loops."
import time

import librosa
import numpy as np
import pytest
import scipy.signal
import scipy.stats
import soundfile as sf
import torch

from ladmg.audio import Loop
from ladmg.core import LadmgError
from ladmg.groovebox.captions import TAGS
from ladmg.groovebox.machine import mixer_for, play, render_loop, waves, write_score
from ladmg.groovebox.mixer import set_master
from ladmg.groovebox.patterns import BARS, STYLES
from ladmg.groovebox.stems import STEMS, part_tags, render_stems, render_voices
from ladmg.groovebox.voices import VOICES, read_data
from ladmg.mastering import loudness

SR = 24000

@pytest.fixture
def shots(tmp_path):
    "A folder with a silent lead-in before every sample."
    for name, f in (('bd_1', 55), ('sn_1', 200), ('hat_closed', 5000), ('tom lo', 90), ('noise', 1000)):
        t = np.arange(7000)
        x = np.sin(2*np.pi*f*t/44100)*np.exp(-t/1500)
        sf.write(tmp_path/f'{name}.wav', np.pad(x, (2000, 0)), 44100)
    return tmp_path

# Sizes and arguments

SIZES = [
    (80, 1, 24000),
    (180, 1, 24000),
    (127.3, 3, 44100),
    (179.9, 16, 16000),
]

@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('bpm,bars,sr', SIZES)
def test_any_size(style, bpm, bars, sr):
    loop = render_loop(11, bpm, bars, sr, style=style)
    x = loop.waveform[0]
    assert len(x) == round(sr*240*bars/bpm)
    assert x.abs().max() < 1
    assert x.std() > .05
    assert abs(x.mean()) < 1e-3
    assert [s for s in STYLES if loop.tags[s]] == [style]
    assert loop.recipe['style'] == style
    assert len(set(loop.captions)) == 6
    assert loop.key.split()[1] in ('minor', 'major')
    for voice in VOICES:
        onsets = loop.onsets[voice]
        assert ((onsets >= 0) & (onsets < loop.seconds)).all()
        assert loop.tags[voice] or not len(onsets)

def test_one_bar_never_fills():
    for seed in range(12):
        assert not render_loop(seed, 150, bars=1).tags['fill']

@pytest.mark.parametrize('arguments,word', [
    ({'shots': 'nowhere'}, 'one-shots'),
    ({'style': 'polka'}, 'dub_techno'),
    ({'bars': 17}, 'bars'),
    ({'bars': 0}, 'bars'),
    ({'bpm': 5}, 'BPM'),
    ({'bpm': 'fast'}, 'BPM'),
    ({'channels': 3}, 'channels')])
def test_says_what_is_wrong(arguments, word):
    with pytest.raises(LadmgError, match=word):
        render_loop(0, **arguments)

def test_seeds_differ():
    assert not torch.equal(render_loop(0, 126).waveform, render_loop(1, 126).waveform)

# Stems

@pytest.mark.parametrize('seed,bpm,bars', [(0, None, 4), (1, None, 4), (6, 130, 2)])
def test_voices_add_up_and_carry_their_labels(seed, bpm, bars):
    stems, loop = render_voices(seed, bpm, bars), render_loop(seed, bpm, bars)
    assert torch.allclose(sum(s.waveform for s in stems.values()), loop.waveform, atol=1e-5)
    assert set(stems) == {voice for voice in VOICES if loop.tags[voice]}
    for voice, stem in stems.items():
        assert isinstance(stem, Loop)
        assert stem.bpm == loop.bpm and stem.bars == bars
        assert np.array_equal(stem.onsets[voice], loop.onsets[voice])

def residue(loop, stems):
    "How far the sum of the stems is from the loop, in dB of the loop."
    missing = sum(stem.waveform for stem in stems.values())-loop.waveform
    return 10*np.log10((missing.square().sum()/loop.waveform.square().sum()).item()+1e-20)

@pytest.mark.parametrize('channels,sr', [(1, SR), (2, 48000), (2, 44100)])
def test_three_stems_are_the_loop(channels, sr):
    assert sum(STEMS.values(), ()) == VOICES
    for seed in range(4):
        settings = {'bars': 1, 'sample_rate': sr, 'channels': channels}
        loop, stems = render_loop(seed, **settings), render_stems(seed, **settings)
        assert residue(loop, stems) < -60
        assert list(stems) == ['drums', 'bass', 'synth']
        for name, stem in stems.items():
            assert stem.waveform.shape == loop.waveform.shape
            playing = {voice for voice in VOICES if stem.tags[voice]}
            assert playing == {voice for voice in STEMS[name] if loop.tags[voice]}
            assert playing or not stem.waveform.any()
            known = part_tags(loop.tags, playing) # without the score: nothing that the score denies
            assert all(stem.tags.get(tag, true) == true for tag, true in known.items())
            assert set(stem.tags)-set(known) <= {*TAGS['measured'], *TAGS['heard_in']}

def test_stereo_voices_are_the_loop():
    settings = {'bars': 1, 'sample_rate': 48000, 'channels': 2}
    assert residue(render_loop(3, **settings), render_voices(3, **settings)) < -60

# Stereo

def mid_side(loop): # (2, S)
    left, right = loop.waveform.double().numpy()
    return np.stack([left+right, left-right])/2

def decibels(a, b):
    return 10*np.log10(a/b)

@pytest.fixture(scope='module')
def stereo():
    return [render_loop(seed, bars=2, sample_rate=48000, channels=2) for seed in range(20)]

@pytest.mark.parametrize('bpm,bars,sr', SIZES)
def test_stereo_of_any_size(bpm, bars, sr):
    for seed in range(3):
        loop = render_loop(seed, bpm, bars, sr, channels=2)
        assert loop.waveform.shape == (2, round(sr*240*bars/bpm))
        assert loop.waveform.abs().max() < 1
        assert loop.waveform.mean(1).abs().max() < 1e-3

def test_labels_are_those_of_mono(stereo):
    for seed in range(4):
        mono = render_loop(seed, bars=2, sample_rate=48000)
        assert mono.tags == stereo[seed].tags and mono.captions == stereo[seed].captions
        for voice, onsets in mono.onsets.items():
            assert np.array_equal(onsets, stereo[seed].onsets[voice])

def before_gain(seed, channels, sr): # (C, n)
    score = write_score(seed, None, 2, sr, None, None, channels)
    parts = play(score)
    bus = sum(mixer_for(score, parts).mix(waves(parts)))
    return set_master(score.groove, bus, sr)[2]

@pytest.mark.parametrize('sr', [24000, 48000])
def test_the_mid_is_the_loop_in_mono(sr):
    "Up to the gain of compressor and limiter."
    for seed in range(8):
        mono = before_gain(seed, 1, sr)[0]
        mid = before_gain(seed, 2, sr)[0]
        missing = np.square(mono-mid).sum()
        assert decibels(missing, np.square(mono).sum()) < -60

def test_lows_stand_in_the_middle(stereo):
    for loop in stereo:
        power = np.abs(np.fft.rfft(mid_side(loop)))**2
        mid, side = power[:, :int(120*loop.seconds)].sum(1)
        assert decibels(side, mid) < -30

def test_mixed_down_it_is_as_loud(stereo):
    "The middle beside the mean of left and right, in power and to the ear."
    for loop in stereo:
        mid, side = (mid_side(loop)**2).mean(1)
        assert decibels(mid+side, mid) < 1
        mid, side = (loudness(x[None], 48000) for x in mid_side(loop))
        assert mid-side > 5.9

def test_sides_differ(stereo):
    width = [decibels(*(mid_side(loop)**2).mean(1)[::-1]) for loop in stereo]
    assert -15 < np.median(width) < -8
    for loop, beside in zip(stereo, width):
        if loop.tags['pad'] or loop.tags['hat'] or loop.tags['shaker']:
            assert beside > -30

def test_neither_side_is_louder(stereo):
    balance = [loudness(x[:1].numpy(), 48000)-loudness(x[1:].numpy(), 48000)
               for x in (loop.waveform for loop in stereo)]
    assert np.abs(balance).max() < 3
    assert abs(np.median(balance)) < 1

def test_stereo_is_as_loud_as_it_says(stereo):
    "Both channels together, as a meter adds them up."
    loud = [loudness(loop.waveform.numpy(), 48000) for loop in stereo]
    assert np.abs(np.array(loud)+12).max() < .5

def test_stereo_has_no_seam():
    left = [render_loop(seed, channels=2).waveform[0].numpy() for seed in range(40)]
    for step in (rise, rise_of_highs, kink):
        ranks = rank_of_join(step, left)
        assert scipy.stats.chisquare(ranks).pvalue > .002, (step.__name__, ranks)

def seconds_to_render(seed, **settings): # of this process
    start = time.process_time()
    loop = render_loop(seed, **settings)
    return time.process_time()-start, loop.seconds

def test_stereo_is_fast():
    "Twenty times real time on one core, or, on a busy machine, at most 3.2 times as long as mono of 24 kHz takes."
    times = []
    for seed in range(10):
        mono, _ = seconds_to_render(seed)
        both, length = seconds_to_render(seed, sample_rate=48000, channels=2)
        times.append((mono, both, length))
    mono, both, length = np.sum(times, 0)
    print(f'stereo at 48 kHz: {length/both:.0f} times real time, {both/mono:.1f} times as long as mono')
    assert length/both > 20 or both/mono < 3.2

# One-shots

def test_shots_take_over(shots):
    for seed in range(4):
        mine = render_voices(seed, 120, 1, shots=shots)
        own = render_voices(seed, 120, 1)
        assert set(mine) == set(own)
        for voice in mine:
            assert np.array_equal(mine[voice].onsets[voice], own[voice].onsets[voice])
        if 'kick' in mine:
            assert not torch.equal(mine['kick'].waveform, own['kick'].waveform)

def test_shots_by_path_or_name(shots):
    by_path, by_name = render_loop(0, 120, shots=shots), render_loop(0, 120, shots=str(shots))
    assert torch.equal(by_path.waveform, by_name.waveform)

def test_silent_shot_is_not_labelled(tmp_path):
    sf.write(tmp_path/'bd.wav', np.zeros(4000), SR)
    loop = render_loop(0, 120, shots=tmp_path)
    assert not loop.tags['kick'] and not len(loop.onsets['kick'])
    assert torch.isfinite(loop.waveform).all()

# Tables

def test_tables_speak_of_all_voices():
    assert list(read_data('mix')) == list(VOICES)
    for style in STYLES.values():
        assert list(style.voices) == list(VOICES)
        assert {*style.kicks} <= {*read_data('kicks')}
        assert {*style.basses} <= {*read_data('basses')}
    for bars in BARS.values():
        for bar in bars:
            assert bar.shape == (16,) and bar.any() and bar.max() <= 1

# Labels sit on their sounds

def around(x, start, before, after):
    return np.abs(x.take(range(start-before, start+after), mode='wrap'))

def rises(part): # → ms, of each hit that silence precedes
    for start in part.starts:
        before = around(part.wave, start, 240, 0)
        after = around(part.wave, start, 0, 480)
        if before.max() < .01*after.max():
            yield 1000*np.argmax(after > .02*after.max())/SR

def label_errors(seeds):
    "Voice → milliseconds from each label to the rise of its dry sound; only hits that silence precedes."
    errors = {}
    for seed in seeds:
        parts = play(write_score(seed, None, 4, SR, None, None))
        for voice, part in parts.items():
            errors.setdefault(voice, []).extend(rises(part))
    return {voice: late for voice, late in errors.items() if late}

@pytest.mark.slow
def test_a_label_sits_on_its_sound():
    errors = label_errors(range(20, 40)) # the notebook takes the first twenty
    assert max(map(max, errors.values())) < 1
    assert set(errors) >= {*VOICES}-{'pad', 'drone', 'ride', 'sweep'} # a ride rings into its next hit

# Loudness

def lufs(loop):
    "Integrated loudness by ITU-R BS.1770-4, with its filters for 48 kHz and two gates, of the loop played three times."
    x = scipy.signal.resample(loop.waveform[0].double().numpy(), 2*loop.waveform.shape[1])
    x = np.tile(x, 3)
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1, -1.69065929318241, .73248077421585]
    highpass = [1, -2, 1], [1, -1.99004745483398, .99007225036621]
    x = scipy.signal.lfilter(*highpass, scipy.signal.lfilter(*shelf, x))
    power = np.lib.stride_tricks.sliding_window_view(x**2, 19200)[::4800].mean(1)
    power = power[power > 10**-6.9309]
    return -.691+10*np.log10(power[power > .1*power.mean()].mean())

def test_as_loud_as_it_says():
    loud = np.array([lufs(render_loop(seed, bars=2)) for seed in range(20)])
    assert np.abs(loud+12).max() < 1.5
    assert abs(np.median(loud)+12) < .3

# No clipping, no offset, no silence, no seam, no two alike

def across(x, at, width):
    return x.take(range(at-width, at+width), mode='wrap')

def rise(x, at):
    "Step of the level over a bar line."
    power = (across(x, at, 720).reshape(2, 720)**2).mean(1)
    return np.diff(np.log(power+1e-9))[0]

def rise_of_highs(x, at):
    return rise(np.diff(x, prepend=x[-1]), at)

def kink(x, at):
    return np.abs(np.diff(across(x, at, 12), 2)).max()

def rank_of_join(step, waves):
    "How often the join has each rank among the four bar lines of a loop: (4,)."
    steps = np.array([[step(x, bar*len(x)//4) for bar in range(4)] for x in waves])
    ranks = (steps[:, 1:] > steps[:, :1]).sum(1)
    return np.bincount(ranks, minlength=4)

def grid_mel(x):
    "Mel spectrogram on the grid of the beat, (64·256,) around its mean."
    hop = max(1, len(x)//256)
    around_it = np.pad(x, 512, mode='wrap')
    mel = librosa.feature.melspectrogram(y=around_it, sr=SR, n_fft=1024, hop_length=hop, n_mels=64, center=False)
    db = 10*np.log10(mel[:, :256]+1e-4*mel.max())
    return ((db-db.mean())/db.std()).astype(np.float32).ravel()

def check_loops(loops):
    waves = [loop.waveform[0].numpy() for loop in loops]
    for x in waves:
        assert np.abs(x).max() < 1
        assert abs(x.mean()) < 1e-3
        assert 20*np.log10(x.std()) > -20
    for step in (rise, rise_of_highs, kink):
        ranks = rank_of_join(step, waves)
        assert scipy.stats.chisquare(ranks).pvalue > .002, (step.__name__, ranks)
    mels = np.stack([grid_mel(x) for x in waves])
    likeness = mels @ mels.T/mels.shape[1]-np.eye(len(mels))
    assert likeness.max() < .98

@pytest.fixture(scope='module')
def loops():
    start = time.process_time()
    made = [render_loop(seed) for seed in range(60)]
    speed = sum(loop.seconds for loop in made)/(time.process_time()-start)
    print(f'{speed:.0f} times real time on one core')
    return made

def test_sixty_loops(loops):
    check_loops(loops)

def test_tags_are_consistent(loops):
    tags = [tag for tag in loops[0].tags if tag != 'drums'] # of which there are always some
    share = {tag: np.mean([loop.tags[tag] for loop in loops]) for tag in tags}
    assert 0 < min(share.values()) and max(share.values()) < 1
    for loop in loops:
        tags = loop.tags
        assert tags['four_on_the_floor']+tags['broken'] == tags['kick']
        assert tags['kick_808']+tags['kick_909']+tags['soft_kick']+tags['hard_kick'] == tags['kick']
        for group, voices in TAGS['groups'].items():
            assert tags[group] == any(tags[voice] for voice in voices)
        pairs = [('dark', 'bright'), ('dry', 'spacious'), ('sparse', 'dense'), ('swung', 'straight'),
                 ('clean', 'distorted'), ('minor', 'major'), ('low_bass', 'high_bass'),
                 ('busy_bass', 'sparse_bass'), ('peak_time', 'warm_up'), ('riser', 'falling_sweep')]
        for a, b in pairs:
            assert not (tags[a] and tags[b])

@pytest.mark.slow
def test_five_hundred_loops(loops):
    many = loops+[render_loop(seed) for seed in range(60, 500)]
    check_loops(many)
    tempi, _ = np.histogram([loop.bpm for loop in many], range(80, 181, 10))
    assert tempi.min() > 15
