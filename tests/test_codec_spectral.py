"What the spectral codec promises."
import pytest
import torch

from ladmg.codec import spectral
from ladmg.codec.spectral import Design, SpectralCodec
from ladmg.codec.stems import StemCodec

SR = 48000
SECONDS = 2

def fitted(design, wave): # a codec whose components are those of one wave
    codec = SpectralCodec(design)
    codec.add(wave)
    codec.solve()
    return codec

@pytest.fixture(scope='module')
def stereo(): # (1, 2, S): a tone on the left, noise on both sides
    generator = torch.Generator().manual_seed(0)
    noise = .05*torch.randn(2, SECONDS*SR, generator=generator)
    t = torch.arange(SECONDS*SR)/SR
    left = torch.sin(6.2831853*440*t)*(1+torch.sin(6.2831853*2*t))/2
    return (noise+torch.stack((left, .2*left)))[None]

@pytest.fixture(scope='module')
def codec(stereo):
    return fitted(Design(n_sides=8, n_lows=32), stereo)

def test_blocks_are_inverted():
    x = torch.randn(2, 7, 24)
    assert torch.equal(spectral.from_blocks(spectral.to_blocks(x, 6), 6), x)

def test_contract(codec, stereo):
    z = codec.encode(stereo, circular=True)
    assert z.shape == (1, codec.channels, 50)
    assert codec.frame_rate == 25
    assert codec.decode(z, circular=True).shape == stereo.shape
    assert codec.decode(codec.encode(stereo)).shape == stereo.shape
    std = codec.stats['std']
    relative = z.std(-1, correction=0)[0][:8]/std[:8]
    assert (relative-1).abs().max() < .05

def test_one_seed_is_one_sound(codec, stereo):
    z = codec.encode(stereo, circular=True)
    both = codec.decode(z.repeat(2, 1, 1), circular=True, seed=3)
    second = codec.decode(z, circular=True, seed=3)
    assert torch.allclose(both[1], second[0], atol=1e-5)

def test_levels_and_image_come_back(codec, stereo):
    again = codec.decode(codec.encode(stereo, circular=True), circular=True)
    was = 10*stereo.square().mean(-1).log10()
    now = 10*again.square().mean(-1).log10()
    assert (now-was).abs().max() < 1.5

def test_mono_comes_back_as_mono(stereo):
    mono = stereo.mean(1, keepdim=True)
    both = fitted(Design(n_sides=8, n_lows=32), mono.expand(-1, 2, -1))
    again = both.decode(both.encode(mono, circular=True), circular=True)[0]
    side = again[0]-again[1]
    assert side.square().mean() < 1e-3*again.square().mean()

def test_folder(codec, stereo, tmp_path):
    codec.save(tmp_path/'codec')
    again = SpectralCodec.from_pretrained(tmp_path/'codec')
    z = codec.encode(stereo, circular=True)
    close = again.encode(stereo, circular=True)
    assert again.design == codec.design
    assert (close-z).abs().max() < .02*z.abs().max()

def test_length_is_free(codec, stereo):
    z = codec.encode(stereo, circular=True, n_latents=64)
    assert z.shape[-1] == 64
    assert codec.decode(z, circular=True, n_samples=123_457).shape[-1] == 123_457

def test_stems_come_back_side_by_side(codec, stereo):
    three = StemCodec({'drums': codec, 'synth': codec})
    z = three.encode({'drums': stereo, 'synth': stereo/2}, circular=True)
    assert z.shape == (1, 2*codec.channels, 50)
    for part in three.std.square().split(2*codec.sizes): # each group of components
        assert abs(part.mean()-1) < 1e-3
    back = three.decode(z, circular=True)
    alone = codec.decode(codec.encode(stereo, circular=True), circular=True)
    assert torch.allclose(back['drums'], alone, atol=1e-4)
    assert back['synth'].square().mean() < .5*back['drums'].square().mean()
