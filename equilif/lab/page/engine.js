// The simulated engine behind its host port.

/** Port of an engine in WebAssembly; `create` is Emscripten's function, `facts` describes the engine. */
export class Engine {
  static async start(create, wasm, facts) {
    return new Engine(await create({ wasmBinary: wasm }), facts);
  }

  constructor(module, facts) {
    this.module = module;
    this.facts = facts;
    this.buffer = 0;
    this.size = 0;
    this.results = module._malloc(16);
    this.sim = module._sim_new();
  }

  /** Write elements of a region, one a cycle; a value goes to plus and minus. */
  write(region, first, values) {
    const { module, facts } = this;
    const isValue = region === facts.regions.value;
    const words = this.#words(values.length);
    for (let k = 0; k < values.length; k++) words[k] = isValue ? values[k] * 0x101 : values[k];
    module._sim_write(this.sim, region, isValue ? facts.lanes : 1, first, values.length, this.buffer);
  }

  /** Elements of a region as unsigned words, valid until the next access. */
  read(region, first, n) {
    const words = this.#words(n);
    this.module._sim_read(this.sim, region, first, n, this.buffer);
    return words;
  }

  /** Run the program to its end. */
  run(learn) {
    if (this.module._web_run(this.sim, learn ? 1 : 0, this.results)) throw new Error("the program does not end");
    const [prediction, cycles, spikes, accesses] = this.#at(this.results, 4);
    return { prediction, cycles, spikes, accesses };
  }

  /** Run the program; yields the index and the cycle of each instruction, before its first effect. */
  *steps(learn) {
    this.module._web_start(this.sim, learn ? 1 : 0);
    for (let index; (index = this.module._web_next(this.sim)) >= 0;) {
      yield { index, cycle: this.module._web_cycles(this.sim) };
    }
  }

  /** Clock cycles of all runs and accesses so far, modulo 2**32. */
  get total() {
    return this.module._web_total(this.sim) >>> 0;
  }

  /** `n` elements of a memory from `first` on: what is in the registers of the simulation, without a cycle. */
  memory(name, first, n) {
    const { index, width, stored, bytes, signed } = this.facts.memories[name];
    const { lanes } = this.facts;
    const base = this.module._sim_peek(this.sim, index);
    const memory = this.module.HEAPU8;
    const found = new Int32Array(n);
    for (let k = 0; k < n; k++) {
      const word = base + Math.floor((first + k) / lanes) * bytes;
      const start = ((first + k) % lanes) * stored;
      let value = 0;
      for (let bit = 0; bit < width; bit++) {
        value |= ((memory[word + ((start + bit) >> 3)] >> ((start + bit) & 7)) & 1) << bit;
      }
      found[k] = signed ? (value << (32 - width)) >> (32 - width) : value;
    }
    return found;
  }

  #words(n) {
    if (n > this.size) {
      this.buffer = this.module._malloc(4 * n); // grows a few times only, so earlier ones are not freed
      this.size = n;
    }
    return this.#at(this.buffer, n);
  }

  #at(address, n) {
    return this.module.HEAPU32.subarray(address >> 2, (address >> 2) + n);
  }
}
