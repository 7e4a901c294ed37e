// Section "Look inside": a recorded run, instruction by instruction, and the weights of every neuron.

import { PHASES, Tiles, paintRaster, showMembrane } from "./charts.js";

export const $ = (id) => document.getElementById(id);
const FRAME_MS = 60; // of an instruction while it plays

export class Inside {
  constructor() {
    this.selected = 0;
    this.at = 0;
    this.tiles = new Tiles($("tiles"), (index) => this.select(index));
    $("position").addEventListener("input", () => {
      this.pause();
      this.show(Number($("position").value));
    });
    $("neuron").addEventListener("change", () => this.select(Number($("neuron").value)));
    $("play").addEventListener("click", () => (this.timer ? this.pause() : this.play()));
    new ResizeObserver(() => this.paint()).observe($("raster"));
    new ResizeObserver(() => {
      if (this.weights) this.setWeights(this.weights);
    }).observe($("tiles").parentElement);
  }

  setNetwork(network) {
    this.network = network;
    this.trace = this.weights = null;
    this.pause();
    $("inside-view").hidden = true;
    $("inside-help").hidden = false;
    $("neuron").replaceChildren(
      ...network.populations.flatMap(({ name, size }) =>
        Array.from({ length: size }, (_, k) => new Option(`${name} ${k}`)),
      ),
    );
    [...$("neuron").options].forEach((option, k) => {
      option.value = k;
    });
    let phase = "";
    $("program").replaceChildren(
      ...network.listing.flatMap((line, k) => {
        const heading = line.phase === phase ? [] : [item(PHASES[line.phase], "phase")];
        phase = line.phase;
        const name = " ".repeat(2 * line.depth) + line.op.toLowerCase().padEnd(8);
        const text = `${name}${line.where}  ${line.details}`;
        const entry = item(text.replaceAll("  ", "\u00a0\u00a0"));
        entry.title = text.trim();
        entry.dataset.index = k;
        return [...heading, entry];
      }),
    );
    this.select(0);
  }

  /** Weights into each neuron as pictures. */
  setWeights(weights) {
    this.weights = weights;
    const [hidden, output] = this.network.populations;
    const into = (synapse, size) => {
      const rows = weights[synapse].length / size;
      return Array.from({ length: size }, (_, k) =>
        Array.from({ length: rows }, (_row, row) => weights[synapse][row * size + k]),
      );
    };
    const columns = $("tiles").parentElement.clientWidth > 700 ? 25 : 10;
    const { side } = this.network;
    const small = into(`${hidden.name}-${output.name}`, output.size);
    const images = [
      ...into(`input-${hidden.name}`, hidden.size),
      ...small.map((image) => enlarge(image, side)),
    ];
    this.tiles.paint(images, side, columns);
    this.frame();
  }

  setTrace(trace) {
    this.trace = trace;
    $("inside-view").hidden = false;
    $("inside-help").hidden = true;
    $("position").max = trace.instructions.length - 1;
    const counts = Array.from(
      { length: trace.neurons },
      (_, k) => trace.steps.filter((s) => s.spikes[k]).length,
    );
    const outputs = counts.slice(this.network.populations[0].size);
    this.select(counts.length - outputs.length + outputs.indexOf(Math.max(...outputs)));
    this.show(0);
    this.play();
  }

  select(neuron) {
    this.selected = neuron;
    $("neuron").value = neuron;
    this.paint();
    this.frame();
  }

  play() {
    if (!this.trace) return;
    if (this.at >= this.trace.instructions.length - 1) this.show(0);
    $("play").textContent = "❚❚";
    $("play").setAttribute("aria-label", "Pause");
    this.timer = setInterval(() => {
      if (this.at >= this.trace.instructions.length - 1) this.pause();
      else this.show(this.at + 1);
    }, FRAME_MS);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    $("play").textContent = "▶";
    $("play").setAttribute("aria-label", "Play");
  }

  /** Show the moment at which an instruction of the run begins. */
  show(at) {
    this.at = at;
    const { trace, network } = this;
    const { index, cycle } = trace.instructions[at];
    const line = network.listing[index];
    $("position").value = at;
    $("moment").textContent =
      `cycle ${cycle.toLocaleString("en")} of ${trace.cycles.toLocaleString("en")} - ` +
      `${PHASES[line.phase]}, ${line.op} ${line.where}`;
    this.step = trace.steps.findLastIndex((step) => step.at <= at);
    const list = $("program");
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const entry = list.querySelector(`[data-index="${index}"]`);
    entry.setAttribute("aria-current", "step");
    const top = entry.offsetTop - list.clientHeight / 2;
    if (Math.abs(list.scrollTop - top) > list.clientHeight / 3) list.scrollTop = top;
    this.paint();
    this.frame();
  }

  paint() {
    if (!this.trace || $("inside-view").hidden) return;
    paintRaster($("raster"), this.trace, this.network.populations, this.step, this.selected);
    showMembrane($("membrane"), this.trace, this.selected, this.network.threshold, this.step);
  }

  frame() {
    this.tiles.frame(this.selected, this.trace?.steps[this.step]?.spikes ?? []);
  }
}

function item(text, className = "") {
  const element = document.createElement("li");
  element.textContent = text;
  element.className = className;
  return element;
}

/** A square picture on side x side pixels, each pixel repeated or left out. */
function enlarge(image, side) {
  const own = Math.ceil(Math.sqrt(image.length));
  return Array.from({ length: side * side }, (_, k) => {
    const [row, column] = [Math.floor(k / side), k % side].map((n) => Math.floor((n * own) / side));
    return image[row * own + column] ?? 0;
  });
}
