// Pictures: grey and signed images, rate bars, the learning curve, the raster of spikes.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** [red, green, blue] of a style variable such as #0072b2. */
const channels = (name) => [1, 3, 5].map((k) => parseInt(colour(name).slice(k, k + 2), 16));

const mix = (from, to, part) => from.map((value, k) => value + (to[k] - value) * part);

/** Values 0..255 of a square image. */
export function paintImage(canvas, values, side) {
  canvas.width = canvas.height = side;
  const [paper, ink] = [channels("--card"), channels("--ink")];
  putPixels(
    canvas.getContext("2d"),
    0,
    0,
    side,
    Array.from(values, (value) => mix(paper, ink, value / 255)),
  );
}

function putPixels(context, x, y, side, pixels) {
  const image = context.createImageData(side, Math.ceil(pixels.length / side));
  pixels.forEach((pixel, k) => image.data.set([...pixel, 255], 4 * k));
  context.putImageData(image, x, y);
}

/** Signed values as colours: blue for positive, red for negative ones; `limit` has the full colour. */
export function signedPixels(values, limit) {
  const [paper, positive, negative] = ["--card", "--blue", "--red"].map(channels);
  return Array.from(values, (value) =>
    mix(paper, value < 0 ? negative : positive, Math.min(1, Math.abs(value) / limit)),
  );
}

/** Grid of small pictures. */
export class Tiles {
  constructor(canvas, selected) {
    this.canvas = canvas;
    this.gap = 2;
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const cell = box.width / this.columns;
      const column = Math.floor((event.clientX - box.left) / cell);
      const index = Math.floor((event.clientY - box.top) / cell) * this.columns + column;
      if (index < this.count) selected(index);
    });
  }

  /** `images`: signed values of side x side each. */
  paint(images, side, columns) {
    const zoom = Math.max(1, Math.round(28 / side));
    const cell = side * zoom + 2 * this.gap;
    Object.assign(this, { columns, count: images.length, cell });
    const rows = Math.ceil(images.length / columns);
    this.canvas.width = columns * cell;
    this.canvas.height = rows * cell;
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    const all = images.flatMap((image) => Array.from(image, Math.abs)).sort((a, b) => a - b);
    const limit = Math.max(1, all[Math.floor(all.length * 0.99)]);
    const small = new OffscreenCanvas(side, side);
    images.forEach((image, k) => {
      putPixels(small.getContext("2d"), 0, 0, side, signedPixels(image, limit));
      const [x, y] = this.#place(k);
      context.drawImage(small, x + this.gap, y + this.gap, side * zoom, side * zoom);
    });
    this.picture = context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Frame the selected tile and those that spike. */
  frame(selected, spikes) {
    if (!this.picture) return;
    const context = this.canvas.getContext("2d");
    context.putImageData(this.picture, 0, 0);
    const outline = (k, style) => {
      const [x, y] = this.#place(k);
      context.strokeStyle = style;
      context.lineWidth = 2;
      context.strokeRect(x + 1, y + 1, this.cell - 2, this.cell - 2);
    };
    spikes.forEach((spike, k) => {
      if (spike) outline(k, colour("--spike"));
    });
    if (selected !== null) outline(selected, colour("--ink"));
  }

  #place(k) {
    return [(k % this.columns) * this.cell, Math.floor(k / this.columns) * this.cell];
  }
}

/** Bars of the output rates. */
export function showRates(list, names, rates, answer) {
  if (list.children.length !== names.length || list.dataset.names !== names.join("\n")) {
    list.dataset.names = names.join("\n");
    list.replaceChildren(
      ...names.map((name) => {
        const item = document.createElement("li");
        item.innerHTML = "<span></span><i><b></b></i><output></output>";
        item.firstChild.textContent = name;
        return item;
      }),
    );
  }
  [...list.children].forEach((item, k) => {
    const rate = rates?.[k] ?? 0;
    item.classList.toggle("answer", k === answer);
    item.querySelector("b").style.width = `${(100 * rate) / 255}%`;
    item.querySelector("output").textContent = rates ? rate : "";
  });
}

const svg = (name, attributes, text = "") => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};

/** Learning curve: `running` is [epochs, accuracy] of the training samples, `tests` of the test samples. */
export function showCurve(chart, { running, tests, epochs }) {
  const width = chart.clientWidth || 640;
  const height = Math.min(320, 0.62 * width);
  const [left, right, top, bottom] = [50, 14, 14, 34];
  const from = 0.5;
  const x = (epoch) => left + ((width - left - right) * epoch) / epochs;
  const y = (part) =>
    height - bottom - ((height - top - bottom) * (Math.max(part, from) - from)) / (1 - from);
  const parts = [];
  for (let percent = 50; percent <= 100; percent += 10) {
    parts.push(
      svg("line", { x1: left, x2: width - right, y1: y(percent / 100), y2: y(percent / 100), class: "grid" }),
    );
    parts.push(svg("text", { x: left - 8, y: y(percent / 100) + 4, class: "right" }, `${percent} %`));
  }
  const every = epochs > 10 ? 5 : 1;
  for (let epoch = 0; epoch <= epochs; epoch += every) {
    parts.push(
      svg("text", { x: x(epoch), y: height - 12, class: "middle" }, epoch ? String(epoch) : "epoch 0"),
    );
  }
  const line = (points) => points.map(([epoch, part]) => `${x(epoch)},${y(part)}`).join(" ");
  parts.push(svg("polyline", { points: line(running), class: "training" }));
  parts.push(svg("polyline", { points: line(tests), class: "test" }));
  for (const [epoch, part] of tests)
    parts.push(svg("circle", { cx: x(epoch), cy: y(part), r: 4, class: "test" }));
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
}

export const PHASES = {
  free: "free phase",
  plus: "nudged phase, +β",
  minus: "nudged phase, −β",
  update: "update",
};

/** Raster of a trace: a column a time step, a row a neuron; the present step has a frame. */
export function paintRaster(canvas, trace, populations, present, selected) {
  const scale = devicePixelRatio;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const gap = 6 * scale;
  const head = 18 * scale;
  const column = Math.min(width / trace.steps.length, 64 * scale);
  const row = (height - head - gap * (populations.length - 1)) / trace.neurons;
  const tints = { free: "--soft", plus: "--blue", minus: "--red" };
  context.font = `${11 * scale}px system-ui, sans-serif`;
  let phase = "";
  trace.steps.forEach((step, k) => {
    const x = k * column;
    context.fillStyle = colour(tints[step.phase]);
    context.fillRect(x, head - 4 * scale, column - scale, 2 * scale);
    if (step.phase !== phase) {
      phase = step.phase;
      context.fillText({ free: "free", plus: "+β", minus: "−β" }[phase], x, head - 8 * scale);
    }
    let [neuron, y] = [0, head];
    for (const { size } of populations) {
      context.fillStyle = colour("--line");
      context.globalAlpha = 0.45;
      context.fillRect(x, y, column - scale, size * row);
      context.globalAlpha = 1;
      for (let n = 0; n < size; n++, neuron++, y += row) {
        if (!step.spikes[neuron]) continue;
        context.fillStyle = neuron === selected ? colour("--red") : colour("--ink");
        context.fillRect(x + scale, y, column - 3 * scale, Math.max(row - 0.5 * scale, 1));
      }
      y += gap;
    }
  });
  if (present >= 0) {
    context.strokeStyle = colour("--red");
    context.lineWidth = 2 * scale;
    context.strokeRect(present * column, head - scale, column - scale, height - head);
  }
}

/** Membrane of a neuron over the time steps of a trace, in units of the threshold. */
export function showMembrane(chart, trace, neuron, threshold, present) {
  const [width, height, left, top, bottom] = [chart.clientWidth || 640, 150, 30, 10, 24];
  const values = trace.steps.map((step) => step.membranes[neuron] / threshold);
  const high = Math.max(1.1, ...values);
  const low = Math.min(-0.1, ...values);
  const x = (k) => left + ((width - left - 10) * (k + 0.5)) / trace.steps.length;
  const y = (value) => height - bottom - ((height - top - bottom) * (value - low)) / (high - low);
  const parts = [0, 1].flatMap((value) => [
    svg("line", { x1: left, x2: width - 10, y1: y(value), y2: y(value), class: "grid" }),
    svg("text", { x: left - 8, y: y(value) + 4, class: "right" }, value ? "θ" : "0"),
  ]);
  for (const phase of ["free", "plus", "minus"]) {
    const points = trace.steps.flatMap((step, k) =>
      step.phase === phase ? [`${x(k)},${y(values[k])}`] : [],
    );
    parts.push(svg("polyline", { points: points.join(" "), class: phase }));
  }
  trace.steps.forEach((step, k) => {
    const kind = `${step.phase}${step.spikes[neuron] ? " spike" : ""}`;
    parts.push(svg("circle", { cx: x(k), cy: y(values[k]), r: k === present ? 6 : 3.5, class: kind }));
  });
  parts.push(svg("text", { x: left, y: height - 6 }, "time steps; a filled point: the neuron spikes"));
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
}
