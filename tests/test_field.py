"Fields, solvers and guidance at their edges: what no notebook needs to explain."
import copy, math
import pytest
import torch
from ladmg.blending import blending_loss
from ladmg.core import Cond, LadmgError, generator, packaged
from ladmg.pipeline import GUIDANCE, LoopPipeline
from ladmg.sampling import Guided, SOLVERS, circle_noise, integrate, reindex
from ladmg.unet import UNet
from torch.utils.flop_counter import FlopCounterMode

def shaken(net):
    g = generator('shaken')
    for p in net.parameters(): p.data = torch.randn(p.shape, generator=g)*(.1 if p.ndim < 2 else .7/p[0].numel()**.5)
    return net

@pytest.fixture
def net(): return shaken(UNet(4, (16, 24, 32), clap=6, descriptors=2))

@pytest.fixture
def cond(T=32):
    g = generator('cond')
    return Cond(torch.rand(3, 3, T, generator=g), torch.randn(3, 6, generator=g), torch.rand(3, 2, T, generator=g))

def latents(B=3, C=4, T=32): return torch.randn(B, C, T, generator=generator('latents', B, C, T))

def test_every_weight_learns(net, cond):
    blending_loss(net, latents(), cond, generator(0))[0].mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []

def test_a_fresh_network_learns_from_its_first_step(cond):
    torch.manual_seed(0)
    net = UNet(4, (16, 24, 32), clap=6, descriptors=2)
    opt = torch.optim.AdamW(net.parameters(), 3e-3)
    x1, losses = torch.full((3, 4, 32), .5), []
    for _ in range(60):
        with torch.autocast('cpu', torch.bfloat16): loss = blending_loss(net, x1, cond, generator(len(losses)))[0].mean()
        loss.backward(); opt.step(); opt.zero_grad(); losses.append(loss.item())
    assert sum(losses[-10:]) < .6*sum(losses[:10]), losses

def test_gradients_roll_too(net, cond):
    x, a, by = latents(), torch.tensor([.1, .5, .9]), 8
    def grad(x, cond):
        x = x.clone().requires_grad_()
        net(x, a, cond).square().sum().backward()
        return x.grad
    rolled = cond.map(lambda v: v.roll(by, -1) if v.ndim == 3 else v)
    torch.testing.assert_close(grad(x.roll(by, -1), rolled), grad(x, cond).roll(by, -1), atol=1e-4, rtol=1e-4)

@pytest.mark.parametrize('config', [dict(widths=(16,)), dict(attention=False), dict(rhythm=0), dict(rhythm=0, descriptors=2), dict(rhythm=1),
                                    dict(rhythm=19, clap=5), dict(widths=(10, 14))], ids=str)
def test_every_configuration_runs_and_rolls(config):
    net = shaken(UNet(4, **{'widths': (16, 24, 32)} | config)).eval()
    for T in (net.stride, 5*net.stride):
        c, x, a = net.config, latents(2, 4, T), torch.tensor([.2, .8])
        cond = Cond(torch.rand(2, c['rhythm'], T) if c['rhythm'] else None, torch.rand(2, 5) if c['clap'] else None,
                    torch.rand(2, 2, T) if c['descriptors'] else None)
        roll = cond.map(lambda v: v.roll(net.stride, -1) if v.ndim == 3 else v)
        torch.testing.assert_close(net(x.roll(net.stride, -1), a, roll), net(x, a, cond).roll(net.stride, -1), atol=1e-5, rtol=1e-4)

def test_what_the_network_was_not_built_for_is_ignored(cond):
    net, x, a = shaken(UNet(4, (16, 24), rhythm=0)), latents(), torch.rand(3)
    assert torch.equal(net(x, a, cond), net(x, a))

def test_conditions_come_in_the_precision_of_the_data_set(net, cond):
    x, a, half = latents(), torch.rand(3), cond.to(torch.float16)
    torch.testing.assert_close(net(x, a, half), net(x, a, half.to(torch.float32)), atol=1e-5, rtol=0)

@pytest.mark.parametrize('solver', SOLVERS)
def test_bfloat16_is_close_and_stays_on_the_way(net, cond, solver):
    x = latents()
    full, half = (integrate(Guided(n, 2.), x, cond, 8, solver) for n in (net, copy.deepcopy(net).bfloat16()))
    assert half.dtype == torch.float32 and (full-half).norm()/full.norm() < .1

@pytest.mark.parametrize('solver', SOLVERS)
def test_a_walk_changes_nothing_it_was_given(net, cond, solver):
    x = latents(); before = x.clone(), cond.map(torch.clone)
    out = integrate(Guided(net, {'clap': 3.}, Cond(clap=torch.ones(1, 6))), x, cond, 2, solver)
    assert torch.equal(x, before[0]) and all(torch.equal(v, getattr(before[1], k)) for k, v in cond.items())
    assert not out.requires_grad

def test_an_exception_from_the_callback_comes_through(net, cond):
    def stop(*_): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): integrate(net, latents(), cond, 4, callback=stop)

def test_damaged_weights_are_named(net, cond):
    net.inp.weight.data[0, 0, 0] = float('nan')
    with pytest.raises(LadmgError, match='not finite at alpha 0.25 .step 1 of 4'): integrate(net, latents(), cond, 4, 'euler')

def test_a_negative_prompt_changes_its_own_difference_only(net, cond):
    x, a, no = latents(), torch.rand(3), Cond(clap=torch.ones(1, 6))
    D = lambda *names: net(x, a, cond.only(*names)).detach()
    bad = net(x, a, Cond(cond.rhythm, no.clap.expand(3, -1), torch.full_like(cond.descriptors, -1))).detach()
    out = Guided(net, {'rhythm': 1.5, 'clap': 2, 'descriptors': 3}, no)(x, a, cond).detach()
    expected = D() + 1.5*(D('rhythm')-D()) + 2*(D('rhythm', 'clap')-bad) + 3*(D('rhythm', 'clap', 'descriptors')-D('rhythm', 'clap'))
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)

@pytest.mark.parametrize('T', [1, 2, 3, 8, 9])
def test_short_noise(T):
    x = circle_noise(0, 3, T)
    assert x.shape == (3, T) and x.isfinite().all()
    torch.testing.assert_close(reindex(reindex(x, 16), T), x, atol=1e-5, rtol=0)

def test_the_pipeline_holds_words_back_at_first(monkeypatch):
    pipe = LoopPipeline.from_pretrained(dtype=torch.float32)
    hear = lambda **kw: pipe(bpm=170, bars=1, steps=4, **kw)[0].waveform
    held, alone = hear(prompt='dark techno'), hear()
    monkeypatch.setattr('ladmg.pipeline.EASE', 0.)
    assert (hear(prompt='dark techno')-held).abs().max() > .01 and torch.equal(hear(), alone)             # only words

def test_the_pipeline_bounds_the_colour_that_words_ask_for(monkeypatch):
    pipe, rides = LoopPipeline.from_pretrained(dtype=torch.float32), 'hard bright techno with rides'
    colour = lambda prompt: pipe._latents(170, 2, [0], pipe._cond(170, 2, pipe.embed(prompt)), GUIDANCE, steps=8).mean(-1).norm().item()
    bound, dull = colour(rides), colour('a kick')
    monkeypatch.setattr('ladmg.pipeline.COLOUR', math.inf)
    assert colour(rides) > 3 and bound < 2.1 and colour('a kick') == dull < 2                             # nothing changes within the bound

def test_the_pipeline_moves_away_from_the_lesser_network(monkeypatch):
    pipe = LoopPipeline.from_pretrained(dtype=torch.float32)
    hear = lambda **kw: pipe(bpm=170, bars=1, steps=4, **kw)[0].waveform
    with FlopCounterMode(display=False) as cheap: with_weak = hear()
    plain = hear(guidance=1.)
    monkeypatch.setattr(pipe, 'weak', None)
    with FlopCounterMode(display=False) as dear: without = hear()
    assert cheap.get_total_flops() < .9*dear.get_total_flops()
    assert (without-with_weak).abs().max() > .01 and torch.equal(hear(guidance=1.), plain)                 # only where guidance moves away from something
    assert LoopPipeline.from_pretrained(packaged('unet')).weak is None                                    # a network comes alone, but for that of the package
    with pytest.raises(LadmgError, match='lesser network was trained on latents'):
        LoopPipeline(pipe.net, pipe.codec, weak=UNet(channels=3, widths=(8, 8, 8, 8)))

def test_lesser_networks_stand_aside_where_something_is_known(net, cond):
    x, a = latents(), torch.rand(3)
    def weak(*_): raise AssertionError('asked')
    for w in ({'clap': 6.}, {'rhythm': .5, 'clap': 2.}, 0, 1, 3): torch.testing.assert_close(Guided(net, w, weak=weak)(x, a, cond), Guided(net, w)(x, a, cond))
