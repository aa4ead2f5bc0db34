__version__ = "0.2.0"

from importlib import import_module

# Name → module. What is asked for is imported then, so that `import ladmg` waits for nothing.
HOMES = {
    'LoopPipeline': 'ladmg.pipeline',
    'Loop': 'ladmg.audio',
    'Codec': 'ladmg.codec.stems',
    'Clap': 'ladmg.clap.model',
    'render_loop': 'ladmg.groovebox.machine',
    'render_stems': 'ladmg.groovebox.stems',
    'prepare': 'ladmg.dataset',
    'train': 'ladmg.training',
    'evaluate': 'ladmg.results',
}
__all__ = list(HOMES)

def __getattr__(name):
    if name not in HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(HOMES[name]), name)

def __dir__():
    return sorted([*globals(), *HOMES])
