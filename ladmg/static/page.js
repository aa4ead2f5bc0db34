// Draws a widget on a page without Python, in the state that it was saved in.

// The part of an anywidget model that the widgets use, without a wire to Python.
class SavedModel {
  constructor(state) {
    this.state = state;
    this.listeners = {};
  }

  get(name) {
    return this.state[name];
  }

  set(name, value) {
    this.state[name] = value;
    const listeners = this.listeners[`change:${name}`] ?? [];
    listeners.forEach(listener => listener());
  }

  on(event, listener) {
    this.listeners[event] ??= [];
    this.listeners[event].push(listener);
  }

  save_changes() {}
}

function decode(base64) {
  const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
  return new DataView(bytes.buffer);
}

async function show(id, state, binary, source) {
  for (const name of binary) state[name] = decode(state[name]);
  const module = await import(`data:text/javascript;base64,${source}`);
  module.default.render({model: new SavedModel(state), el: document.getElementById(id)});
}
