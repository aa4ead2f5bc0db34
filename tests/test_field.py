"Fields, solvers and guidance at their edges: what no notebook needs to explain."
import copy

import pytest
import torch

from ladmg.blending import blending_loss
from ladmg.core import Cond, LadmgError, generator
from ladmg.guidance import Guided
from ladmg.noise import circle_noise, reindex
from ladmg.pipeline import LoopPipeline
from ladmg.solvers import SOLVERS, integrate
from ladmg.unet import UNet

close = torch.testing.assert_close

def randomise(net):
    g = generator('shaken')
    for p in net.parameters():
        std = .1 if p.ndim < 2 else .7/p[0].numel()**.5
        p.data = torch.randn(p.shape, generator=g)*std
    return net

def roll(v, by):
    return v.roll(by, -1) if v.ndim == 3 else v

def latents(B=3, C=4, T=32):
    return torch.randn(B, C, T, generator=generator('latents', B, C, T))

@pytest.fixture
def net():
    return randomise(UNet(4, (16, 24, 32), embedding=6, descriptors=2))

@pytest.fixture
def cond(T=32):
    g = generator('cond')
    return Cond(rhythm=torch.rand(3, 3, T, generator=g),
                embedding=torch.randn(3, 6, generator=g),
                descriptors=torch.rand(3, 2, T, generator=g))

@pytest.fixture(scope='module')
def pipe():
    return LoopPipeline.from_pretrained(dtype=torch.float32)

# The network

def test_every_weight_learns(net, cond):
    loss, _ = blending_loss(net, latents(), cond, generator(0))
    loss.mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []

def test_a_fresh_network_learns_from_its_first_step(cond):
    torch.manual_seed(0)
    net = UNet(4, (16, 24, 32), embedding=6, descriptors=2)
    opt = torch.optim.AdamW(net.parameters(), 3e-3)
    x1 = torch.full((3, 4, 32), .5)
    losses = []
    for i in range(60):
        with torch.autocast('cpu', torch.bfloat16):
            loss = blending_loss(net, x1, cond, generator(i))[0].mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-10:]) < .6*sum(losses[:10]), losses

def test_gradients_roll_too(net, cond):
    x = latents()
    alpha = torch.tensor([.1, .5, .9])
    by = 8
    def grad(x, cond):
        x = x.clone().requires_grad_()
        net(x, alpha, cond).square().sum().backward()
        return x.grad
    rolled = grad(x.roll(by, -1), cond.map(lambda v: roll(v, by)))
    close(rolled, grad(x, cond).roll(by, -1), atol=1e-4, rtol=1e-4)

CONFIGS = [
    dict(widths=(16,)),
    dict(attention=False),
    dict(rhythm=0),
    dict(rhythm=0, descriptors=2),
    dict(rhythm=1),
    dict(rhythm=19, embedding=5),
    dict(widths=(10, 14)),
]

@pytest.mark.parametrize('config', CONFIGS, ids=str)
def test_every_configuration_runs_and_rolls(config):
    net = randomise(UNet(4, **{'widths': (16, 24, 32)} | config)).eval()
    alpha = torch.tensor([.2, .8])
    for T in (net.stride, 5*net.stride):
        x = latents(2, 4, T)
        cond = Cond()
        if net.config['rhythm']:
            cond.rhythm = torch.rand(2, net.config['rhythm'], T)
        if net.config['embedding']:
            cond.embedding = torch.rand(2, 5)
        if net.config['descriptors']:
            cond.descriptors = torch.rand(2, 2, T)
        rolled = net(x.roll(net.stride, -1), alpha, cond.map(lambda v: roll(v, net.stride)))
        close(rolled, net(x, alpha, cond).roll(net.stride, -1), atol=1e-5, rtol=1e-4)

def test_what_the_network_was_not_built_for_is_ignored(cond):
    net = randomise(UNet(4, (16, 24), rhythm=0))
    x, alpha = latents(), torch.rand(3)
    assert torch.equal(net(x, alpha, cond), net(x, alpha))

def test_conditions_come_in_the_precision_of_the_data_set(net, cond):
    x, alpha = latents(), torch.rand(3)
    half = cond.to(torch.float16)
    close(net(x, alpha, half), net(x, alpha, half.to(torch.float32)), atol=1e-5, rtol=0)

# Solvers

@pytest.mark.parametrize('solver', SOLVERS)
def test_bfloat16_is_close_and_stays_on_the_way(net, cond, solver):
    x = latents()
    rounded = copy.deepcopy(net).bfloat16()
    full = integrate(Guided(net, 2.), x, cond, 8, solver)
    half = integrate(Guided(rounded, 2.), x, cond, 8, solver)
    assert half.dtype == torch.float32
    assert (full-half).norm()/full.norm() < .1

@pytest.mark.parametrize('solver', SOLVERS)
def test_a_walk_changes_nothing_it_was_given(net, cond, solver):
    x = latents()
    x_before = x.clone()
    cond_before = cond.map(torch.clone)
    negative = Cond(embedding=torch.ones(1, 6))
    out = integrate(Guided(net, {'embedding': 3.}, negative), x, cond, 2, solver)
    assert torch.equal(x, x_before)
    for name, v in cond.items():
        assert torch.equal(v, getattr(cond_before, name))
    assert not out.requires_grad

def test_an_exception_from_the_callback_comes_through(net, cond):
    def stop(*_):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        integrate(net, latents(), cond, 4, callback=stop)

def test_damaged_weights_are_named(net, cond):
    net.conv_in.weight.data[0, 0, 0] = float('nan')
    with pytest.raises(LadmgError, match='not finite at alpha 0.25 .step 1 of 4'):
        integrate(net, latents(), cond, 4, 'euler')

# Guidance

def test_a_negative_prompt_changes_its_own_difference_only(net, cond):
    x, alpha = latents(), torch.rand(3)
    negative = Cond(embedding=torch.ones(1, 6))
    def D(*names):
        return net(x, alpha, cond.only(*names)).detach()
    away = Cond(cond.rhythm, torch.ones(3, 6), torch.full_like(cond.descriptors, -1))
    bad = net(x, alpha, away).detach()
    scales = {'rhythm': 1.5, 'embedding': 2, 'descriptors': 3}
    out = Guided(net, scales, negative)(x, alpha, cond).detach()
    r, re, red = D('rhythm'), D('rhythm', 'embedding'), D('rhythm', 'embedding', 'descriptors')
    close(out, D() + 1.5*(r-D()) + 2*(re-bad) + 3*(red-re), atol=1e-5, rtol=1e-4)

@pytest.mark.parametrize('T', [1, 2, 3, 8, 9])
def test_short_noise(T):
    x = circle_noise(0, 3, T)
    assert x.shape == (3, T)
    assert x.isfinite().all()
    close(reindex(reindex(x, 16), T), x, atol=1e-5, rtol=0)

# The pipeline

def test_the_pipeline_guides_by_its_own_scales_unless_others_are_given(pipe):
    def wave(**asked):
        return pipe(bpm=170, bars=1, steps=4, **asked)[0].waveform
    default = wave()
    assert torch.equal(default, wave(guidance_scale=pipe.guidance_scale))
    assert not torch.equal(default, wave(guidance_scale=1.))
    before = pipe.guidance_scale
    pipe.guidance_scale = 1.
    plain = wave()
    pipe.guidance_scale = before
    assert torch.equal(plain, wave(guidance_scale=1.))

def test_a_walk_that_starts_late_has_even_steps(pipe):
    cond = pipe.conditions(170, 1)
    x = pipe.noise([0], 170, 1)
    asked = []
    def field(x, alpha, cond):
        asked.append(round(alpha[0].item(), 3))
        return torch.zeros_like(x)
    def alphas(alpha0, **how):
        asked.clear()
        pipe.sample_from(x, cond, alpha0, field, steps=4, solver='euler', **how)
        return list(asked)
    assert alphas(0.) == [0., .167, .333, .5]
    assert alphas(.2) == [.2, .3, .4, .5]
    assert alphas(.6) == [.6, .7, .8, .9]
    assert alphas(0., leap=None) == [0., .25, .5, .75]

def test_a_network_needs_the_codec_of_its_latents(pipe):
    with pytest.raises(LadmgError, match='network was trained on latents'):
        LoopPipeline(UNet(channels=3, widths=(8, 8, 8, 8)), pipe.codec)

def test_words_come_from_the_clap_the_network_was_trained_with(pipe):
    class Another:
        name = 'another'
    with pytest.raises(LadmgError, match="this CLAP is 'another'"):
        LoopPipeline(pipe.net, pipe.codec, clap=Another()).embed('techno')
