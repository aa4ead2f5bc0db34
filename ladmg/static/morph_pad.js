// A point between four named corners, to drag or to push with the arrows.

const NUDGE = 0.05; // of the width, by one press of an arrow

const DIRECTIONS = {
  ArrowLeft: [-NUDGE, 0],
  ArrowRight: [NUDGE, 0],
  ArrowUp: [0, -NUDGE],
  ArrowDown: [0, NUDGE],
};

function clamp(v) {
  return Math.min(1, Math.max(0, v));
}

class Pad {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.dot = document.createElement('i');
    el.classList.add('ladmg-pad');
    el.tabIndex = 0;
    el.setAttribute('role', 'slider');
    el.setAttribute('aria-label', 'Morph pad');
    this.listen();
    this.build();
  }

  listen() {
    this.el.onpointerdown = event => {
      this.el.setPointerCapture(event.pointerId);
      this.drag(event);
    };
    this.el.onpointermove = event => {
      if (event.buttons) this.drag(event);
    };
    this.el.onkeydown = event => this.press(event);
    this.model.on('change:x', () => this.draw());
    this.model.on('change:y', () => this.draw());
    this.model.on('change:corners', () => this.build());
  }

  build() {
    const names = this.model.get('corners').map(corner => {
      const name = document.createElement('span');
      name.textContent = corner;
      return name;
    });
    this.el.replaceChildren(...names, this.dot);
    this.draw();
  }

  draw() {
    const x = this.model.get('x');
    const y = this.model.get('y');
    this.dot.style.left = `${100 * x}%`;
    this.dot.style.top = `${100 * y}%`;
    this.el.setAttribute('aria-valuenow', x.toFixed(2));
    this.el.setAttribute('aria-valuetext', `${x.toFixed(2)} from the left, ${y.toFixed(2)} from the top`);
  }

  move(x, y) {
    this.model.set('x', clamp(x));
    this.model.set('y', clamp(y));
    this.model.save_changes();
  }

  drag(event) {
    const box = this.el.getBoundingClientRect();
    this.move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  press(event) {
    const direction = DIRECTIONS[event.key];
    if (!direction) return;
    event.preventDefault();
    const [right, down] = direction;
    this.move(this.model.get('x') + right, this.model.get('y') + down);
  }
}

function render({model, el}) {
  new Pad(model, el);
}

export default {render};
