// Sixteen steps for each voice, on or off: one tab stop, arrows within.

const LAST_STEP = 15;

class Grid {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.buttons = []; // a list for each voice
    el.classList.add('ladmg-grid');
    el.setAttribute('role', 'group');
    el.setAttribute('aria-label', 'Step grid');
    el.title = model.get('hint');
    model.on('change:grid', () => this.update());
    this.build();
  }

  build() {
    const grid = Object.entries(this.model.get('grid'));
    this.buttons = grid.map(([voice, steps], row) => steps.map((on, step) => this.button(voice, row, step)));
    this.el.replaceChildren(...grid.map(([voice], row) => this.row(voice, row)));
    this.paint();
  }

  button(voice, row, step) {
    const button = document.createElement('button');
    button.setAttribute('aria-label', `${voice}, step ${step + 1}`);
    button.tabIndex = row === 0 && step === 0 ? 0 : -1;
    button.onclick = () => this.toggle(voice, step);
    button.onkeydown = event => this.walk(event, row, step);
    return button;
  }

  row(voice, row) {
    const name = document.createElement('span');
    name.textContent = voice;
    name.title = voice;
    const line = document.createElement('div');
    line.append(name, ...this.buttons[row]);
    return line;
  }

  update() {
    const shown = [...this.el.querySelectorAll('span')].map(name => name.title);
    const voices = Object.keys(this.model.get('grid'));
    if (voices.join() === shown.join()) this.paint();
    else this.build();
  }

  paint() {
    Object.values(this.model.get('grid')).forEach((steps, row) => {
      steps.forEach((on, step) => {
        this.buttons[row][step].setAttribute('aria-pressed', on > 0);
      });
    });
  }

  toggle(voice, step) {
    const grid = this.model.get('grid');
    const steps = grid[voice].map((on, i) => (i === step ? 1 - on : on));
    this.model.set('grid', {...grid, [voice]: steps});
    this.model.save_changes();
  }

  walk(event, row, step) {
    const targets = {
      ArrowLeft: [row, step - 1],
      ArrowRight: [row, step + 1],
      ArrowUp: [row - 1, step],
      ArrowDown: [row + 1, step],
      Home: [row, 0],
      End: [row, LAST_STEP],
    };
    const target = targets[event.key];
    if (!target) return;
    event.preventDefault();
    const [toRow, toStep] = target;
    const to = this.buttons[toRow]?.[toStep];
    if (!to) return;
    this.buttons[row][step].tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }
}

function render({model, el}) {
  new Grid(model, el);
}

export default {render};
