// A network on the engine: loads program and weights, runs samples.  As equilif_golden.engine.chip.

import { weightAddresses, weightElements } from "./network.js";

export class Chip {
  constructor(engine, network) {
    this.engine = engine;
    this.network = network;
    this.regions = engine.facts.regions;
    this.addresses = network.synapses.map((synapse) => weightAddresses(synapse, engine.facts.lanes));
    this.elements = weightElements(network, engine.facts.lanes);
    this.learningRate = -1;
    engine.write(this.regions.value, network.constants.first, network.constants.values);
    this.setLearningRate(0);
  }

  /** Load the program with the learning rate of an epoch, counted from 0. */
  setLearningRate(epoch) {
    if (epoch === this.learningRate) return;
    this.learningRate = epoch;
    this.engine.write(this.regions.program, 0, this.network.programs[epoch].words);
  }

  /** `counter`: weight updates so far, which number the dither. */
  loadWeights(weights, counter) {
    const words = new Uint32Array(this.elements);
    this.network.synapses.forEach(({ name }, s) => {
      weights[name].forEach((value, k) => {
        words[this.addresses[s][k]] = value;
      });
    });
    this.engine.write(this.regions.weight, 0, words);
    this.counter = counter;
    const { update, mask } = this.engine.facts.dither;
    this.engine.write(this.regions.counter, 0, [Number((BigInt(counter) * BigInt(update)) & BigInt(mask))]);
  }

  weights() {
    const words = this.engine.read(this.regions.weight, 0, this.elements);
    return Object.fromEntries(
      this.network.synapses.map(({ name }, s) => [
        name,
        Int16Array.from(this.addresses[s], (address) => words[address]),
      ]),
    );
  }

  /** Write a sample, and its target if there is a label. */
  load(x, label = null) {
    this.#write(this.network.input, x);
    if (label === null) return;
    const target = new Uint8Array(this.network.target.size);
    target[label] = 255;
    this.#write(this.network.target, target);
  }

  #write({ first, n }, values) {
    const padded = new Uint8Array(n);
    padded.set(values);
    this.engine.write(this.regions.value, first, padded);
  }

  /** Run a sample: an inference, or with a label a training sample. */
  run(x, label = null) {
    this.load(x, label);
    const result = this.engine.run(label !== null);
    if (label !== null) this.counter += this.network.updates;
    return result;
  }

  /** Rates of the output after an inference, 0..255. */
  rates() {
    const { first, size } = this.network.populations.at(-1);
    return Array.from(this.engine.read(this.regions.value, first, size), (value) => value & 0xff);
  }

  /**
   * Run a sample and record every instruction, and the neurons after each time step: spikes and membranes of
   * all populations in the order of the network.
   */
  trace(x, label = null) {
    this.load(x, label);
    const { listing, populations } = this.network;
    const neurons = populations.reduce((n, { size }) => n + size, 0);
    const instructions = [];
    const steps = [];
    const last = populations.at(-1);
    let before = null;
    const record = () => {
      // a time step ends with the STEP of the last population
      if (before === null || listing[before].op !== "STEP" || !listing[before].where.endsWith(last.name))
        return;
      const read = (name) =>
        populations.flatMap(({ first, size }) => [...this.engine.memory(name, first, size)]);
      steps.push({
        phase: listing[before].phase,
        at: instructions.length,
        spikes: read("s"),
        membranes: read("a"),
      });
    };
    for (const { index, cycle } of this.engine.steps(label !== null)) {
      record();
      instructions.push({ index, cycle });
      before = index;
    }
    if (label !== null) this.counter += this.network.updates;
    return { instructions, steps, neurons, cycles: this.engine.cycles, label };
  }
}
