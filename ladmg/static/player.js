// A loop that repeats to the sample: its picture, its waveform, its beats, and the place that sounds.

const BEAT_COLOR = '#22b8cfb0';
const PLACE_COLOR = '#ff922b';
const MEL_SHARE = 0.62; // of the height; the waveform has the rest

const CONTENT = `
  <div>
    <button aria-label="Play">▶ Play</button>
    <span></span>
    <a>Save WAV</a>
  </div>
  <canvas tabindex="0" aria-label="Loop: space plays, arrows jump by a beat"></canvas>`;

function blobURL(data, type) {
  return URL.createObjectURL(new Blob([data], {type}));
}

function peak(samples) {
  return samples.reduce((high, v) => Math.max(high, Math.abs(v)), 0);
}

class Player {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.buffer = null; // the loop, decoded
    this.audio = null; // an AudioContext, from the first play on
    this.source = null; // what sounds now
    this.startedAt = 0; // time on the audio clock when the loop's second 0 sounded
    this.stoppedAt = 0; // second of the loop, while nothing sounds
    el.classList.add('ladmg-player');
    el.innerHTML = CONTENT;
    this.button = el.querySelector('button');
    this.clock = el.querySelector('span');
    this.link = el.querySelector('a');
    this.canvas = el.querySelector('canvas');
    this.mel = new Image();
    this.watch = new ResizeObserver(() => this.draw());
    this.listen();
  }

  listen() {
    this.button.onclick = () => this.toggle();
    this.canvas.onclick = event => this.click(event);
    this.canvas.onkeydown = event => this.press(event);
    this.mel.onload = () => this.draw();
    this.watch.observe(this.canvas);
    this.model.on('change:wav', () => this.load());
  }

  async load() {
    const view = this.model.get('wav');
    const ready = view && view.byteLength > 0;
    this.el.hidden = !ready;
    if (!ready) return;
    const data = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    const share = this.buffer ? this.place() / this.buffer.duration : 0;
    this.link.href = blobURL(data, 'audio/wav');
    this.link.download = this.model.get('name');
    this.mel.src = blobURL(this.model.get('mel'), 'image/png');
    // decoded at its own rate, so that nothing is resampled across the join
    const decoder = new OfflineAudioContext(1, 1, this.model.get('sample_rate'));
    this.buffer = await decoder.decodeAudioData(data);
    this.jump(share * this.buffer.duration);
  }

  // Where we are in the loop, in seconds.
  place() {
    if (!this.buffer) return 0;
    if (!this.source) return this.stoppedAt;
    return (this.audio.currentTime - this.startedAt) % this.buffer.duration;
  }

  play(from) {
    this.source?.stop();
    const sampleRate = this.buffer.sampleRate;
    if (this.audio?.sampleRate !== sampleRate) {
      this.audio?.close();
      this.audio = new AudioContext({sampleRate});
    }
    this.audio.resume();
    this.source = new AudioBufferSourceNode(this.audio, {buffer: this.buffer, loop: true});
    this.source.connect(this.audio.destination);
    this.source.start(0, from);
    this.startedAt = this.audio.currentTime - from;
    this.button.textContent = '■ Stop';
    this.nextFrame();
  }

  stop() {
    this.stoppedAt = this.place();
    this.source?.stop();
    this.source = null;
    this.button.textContent = '▶ Play';
    this.draw();
  }

  toggle() {
    if (this.source) this.stop();
    else this.play(this.stoppedAt);
  }

  jump(seconds) {
    const duration = this.buffer.duration;
    const to = ((seconds % duration) + duration) % duration; // −1 is a second before the end
    if (this.source) {
      this.play(to);
    } else {
      this.stoppedAt = to;
      this.draw();
    }
  }

  click(event) {
    this.jump(event.offsetX / this.canvas.clientWidth * this.buffer.duration);
  }

  press(event) {
    const beat = this.model.get('beats')[1] ?? 1;
    const actions = {
      ' ': () => this.button.click(),
      ArrowLeft: () => this.jump(this.place() - beat),
      ArrowRight: () => this.jump(this.place() + beat),
      Home: () => this.jump(0),
    };
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  nextFrame() {
    requestAnimationFrame(() => {
      if (!this.source) return;
      if (!this.el.isConnected) return this.stop();
      this.draw();
      this.nextFrame();
    });
  }

  draw() {
    const canvas = this.canvas;
    const width = canvas.clientWidth * devicePixelRatio;
    const height = canvas.clientHeight * devicePixelRatio;
    canvas.width = width;
    canvas.height = height;
    if (!this.buffer || !width) return;
    const context = canvas.getContext('2d');
    const top = MEL_SHARE * height;
    context.drawImage(this.mel, 0, 0, width, top);
    this.drawWave(context, top);
    this.drawBeats(context);
    this.drawLine(context, this.place(), PLACE_COLOR, 2);
    const place = this.place().toFixed(1);
    this.clock.textContent = `${place} of ${this.buffer.duration.toFixed(2)} s`;
  }

  drawWave(context, top) {
    const {width, height} = this.canvas;
    const middle = (height + top) / 2;
    const samples = this.buffer.getChannelData(0);
    context.fillStyle = getComputedStyle(this.el).color;
    for (let x = 0; x < width; x++) {
      const first = Math.floor(x * samples.length / width);
      const end = Math.floor((x + 1) * samples.length / width);
      const high = peak(samples.subarray(first, end)) * (height - top) / 2;
      context.fillRect(x, middle - high, 1, Math.max(1, 2 * high));
    }
  }

  drawBeats(context) {
    const downbeats = new Set(this.model.get('downbeats'));
    for (const beat of this.model.get('beats')) {
      this.drawLine(context, beat, BEAT_COLOR, downbeats.has(beat) ? 2.5 : 1);
    }
  }

  drawLine(context, seconds, color, width) {
    const {width: full, height} = this.canvas;
    context.fillStyle = color;
    context.fillRect(seconds / this.buffer.duration * full, 0, width * devicePixelRatio, height);
  }

  close() {
    this.stop();
    this.watch.disconnect();
    this.audio?.close();
  }
}

function render({model, el}) {
  const player = new Player(model, el);
  player.load();
  return () => player.close();
}

export default {render};
