"Known cases for the measures of pitch, and for phases found again."
import numpy as np
import pytest
import torch

from ladmg import phase, pitch
from ladmg.audio import Loop
from ladmg.metrics.distances import FAD, KAD

SR = 24000
SECONDS = 2

def sine(f, phase=0.): # a whole number of turns, so that the circle closes
    t = np.arange(SR*SECONDS)/SR
    return np.sin(2*np.pi*round(f*SECONDS)/SECONDS*t+phase).astype(np.float32)

def note(f=220., partials=8, seed=None): # partials that fall with 1/n
    phases = np.zeros(partials)
    if seed is not None:
        phases = np.random.default_rng(seed).uniform(0, 2*np.pi, partials)
    return sum(sine(f*n, phases[n-1])/n for n in range(1, partials+1))

def noise(seed=0):
    return np.random.default_rng(seed).standard_normal(SR*SECONDS).astype(np.float32)

def warble(f=440.): # the note of each 40 ms is another
    steps = np.random.default_rng(0).uniform(-.1, .1, 25*SECONDS)
    frequency = np.repeat(f*2**steps, SR//25)
    return np.sin(2*np.pi*np.cumsum(frequency)/SR).astype(np.float32)

def chord(root):
    return sum(note(root*ratio, 4) for ratio in (1, 1.2, 1.5))

# Lasting lines

def test_line_share_knows_noise_and_sines():
    assert pitch.line_share(noise(), SR) < .005
    assert pitch.line_share(note(), SR) > .97
    assert pitch.line_share(np.zeros(SR), SR) == 0

def test_line_share_does_not_take_warbling_for_a_note():
    assert pitch.line_share(warble(), SR) < .2

@pytest.mark.parametrize('seed', range(3))
def test_line_share_is_untouched_by_phase(seed):
    a = pitch.line_share(note()+noise(), SR)
    b = pitch.line_share(note(seed=seed)+noise(), SR)
    assert abs(a-b) < .02

def test_line_share_goes_round():
    x = note()*np.hanning(SR*SECONDS)+.1*noise()
    assert abs(pitch.line_share(x, SR)-pitch.line_share(np.roll(x, SR), SR)) < .02

# Constant-Q and chroma

def test_cq_similarity_knows_itself_and_noise():
    assert pitch.cq_similarity(note(), note(), SR) == pytest.approx(1)
    assert abs(pitch.cq_similarity(noise(1), note(), SR)) < .15
    assert abs(pitch.cq_similarity(noise(1), noise(2), SR)) < .15

def test_cq_similarity_falls_with_each_partial():
    scores = [pitch.cq_similarity(note(partials=n), note(), SR) for n in range(8, 0, -1)]
    assert all(a > b for a, b in zip(scores, scores[1:]))

def test_chroma_similarity_tells_keys_apart():
    other = chord(220*2**(1/12))
    assert pitch.chroma_similarity(chord(220), chord(220), SR) == pytest.approx(1)
    assert pitch.chroma_similarity(other, chord(220), SR) < .25
    assert abs(pitch.chroma_similarity(noise(1), chord(220), SR)) < .25

def test_similarities_are_untouched_by_phase():
    assert pitch.cq_similarity(note(seed=1), note(), SR) > .97
    assert pitch.chroma_similarity(.1*note(seed=1), note(), SR) > .97

# Stereo

def test_side_width_and_correlation():
    mono = np.stack((noise(1), noise(1)))
    wide = np.stack((noise(1), noise(2)))
    assert (pitch.side_width(mono, SR) == -60).all()
    assert abs(pitch.side_width(wide, SR)).max() < 2
    assert pitch.side_correlation(mono, SR) == pytest.approx(1)
    assert abs(pitch.side_correlation(wide, SR)).max() < .15
    assert pitch.side_correlation(np.stack((noise(), -noise())), SR) == pytest.approx(-1)

def test_side_width_tells_bands():
    side = sine(3000)
    width = pitch.side_width(np.stack((noise()+side, noise()-side)), SR)
    assert width.argmax() == 4
    assert (np.delete(width, 4) < -40).all()

# Embedding

@pytest.fixture(scope='module')
def corpus():
    roots = 110*2**(np.random.default_rng(0).integers(0, 25, 16)/12)
    return [(chord(root)+.05*noise(i))[None] for i, root in enumerate(roots)]

def test_distances_grow_when_notes_are_lost(corpus):
    embedding = pitch.NoteEmbedding(corpus[:8], SR)
    loops = [Loop(w, SR) for w in corpus]
    warbled = [Loop(warble(220*2**(i/12))[None], SR) for i in range(6)]
    for metric, value in ((KAD, lambda m: m.compute()['KAD']), (FAD, lambda m: m.compute())):
        found = []
        for judged in (loops[8:], warbled):
            m = metric(embedding)
            m.update(loops[:8], real=True)
            m.update(judged)
            found.append(float(value(m)))
        assert found[1] > found[0]+20

def test_embedding_is_untouched_by_phase(corpus):
    embedding = pitch.NoteEmbedding(corpus[:4], SR)
    torch.testing.assert_close(embedding.corpus, embedding.embed_audio(corpus[:4], SR))
    waves = [note()[None], note(seed=1)[None], noise()[None]]
    same, again, other = embedding.embed_audio(waves, SR)
    assert torch.isfinite(other).all()
    assert (same-again).norm() < .2*(same-other).norm()

# Phase

def test_stft_is_inverted_at_any_length():
    wave = torch.randn(2, 9613)
    window = phase.gaussian(640, 81.6)
    grid = phase.even_grid(9613, 151)
    again = phase.circular_istft(phase.circular_stft(wave, window, grid), window, grid)
    assert (again-wave).abs().max() < 1e-4

def test_a_full_scale_sine_has_magnitude_one():
    wave = torch.from_numpy(sine(3750))[None]
    grid = phase.even_grid(wave.shape[1], 200)
    spectra = phase.circular_stft(wave, phase.gaussian(640, 81.6), grid)
    assert spectra.abs().max().item() == pytest.approx(1, abs=1e-3)

def test_scan_is_the_loop_over_frames():
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(5, (1, 5, 23), generator=generator)
    turn = torch.rand(1, 5, 23, generator=generator)
    source[..., 0] = 0
    expected = [turn[0, :, 0]]
    for n in range(1, 23):
        expected.append(expected[-1][source[0, :, n]]+turn[0, :, n])
    found = phase.scan(source, turn)[0] % phase.TAU
    assert torch.allclose(found, torch.stack(expected, 1) % phase.TAU, atol=1e-4)

CHORD = (220, 277, 330, 660) # Hz; partials that beat within the window

@pytest.mark.parametrize('partials, decay, least', [((440,), 0, -20), (CHORD, 8, -20), (CHORD, 0, -17)])
def test_phases_come_back_from_magnitudes(partials, decay, least):
    t = np.arange(9600*2)/9600
    notes = sum(np.sin(2*np.pi*f*t) for f in partials)
    wave = torch.from_numpy((notes*np.exp(-decay*(t % .5))).astype(np.float32))[None]
    window = phase.gaussian(640, 81.6)
    grid = phase.even_grid(19200, 300)
    mag = phase.circular_stft(wave, window, grid).abs()
    levels = []
    for angle in (phase.circular_phase(mag, grid, 640, 81.6), 6.28*torch.rand_like(mag)):
        again = phase.circular_istft(torch.polar(mag, angle), window, grid)
        new = phase.circular_stft(again, window, grid).abs()
        levels.append(20*((new-mag).norm()/mag.norm()).log10())
    assert levels[0] < least
    assert levels[1] > -8
