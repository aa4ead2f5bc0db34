"The cell of a page: an explorer whose pipeline refuses, a grid, a pad, and a line that says where they stand."
from types import SimpleNamespace

import ipywidgets as W

from ladmg.app import LoopExplorer
from ladmg.core import LadmgError
from ladmg.widgets import MorphPad, StepGrid


class RefusingPipeline:
    net = SimpleNamespace(config={'embedding': 512})

    def __call__(self, prompt='', negative_prompt='', callback=None, **kw):
        raise LadmgError(f'{prompt} but not {negative_prompt} cannot be played: ask for music.')


def row(voice):
    return ''.join(map(str, grid.grid[voice]))


def show(_):
    line.value = f"kick {row('kick')} hat {row('hat')} at {pad.x:.2f} {pad.y:.2f}"


grid = StepGrid(['kick', 'hat'])
pad = MorphPad(corners=['dub', 'acid', 'deep', 'electro'])
line = W.HTML()
grid.observe(show, 'grid')
pad.observe(show, ['x', 'y'])
W.VBox([LoopExplorer(RefusingPipeline()), grid, pad, line])
