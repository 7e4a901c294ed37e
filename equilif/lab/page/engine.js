// The simulated engine behind its host port.

const NOT_SUPPORTED = 52; // of WASI

/** Exports of WebAssembly that needs no system: every call to one is answered that there is none. */
async function instantiate(wasm) {
  const module = await WebAssembly.compile(wasm);
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = () => NOT_SUPPORTED;
  }
  const { exports } = await WebAssembly.instantiate(module, imports);
  exports._initialize();
  return exports;
}

/** Port of an engine in WebAssembly (equilif_sim.web); `facts` describes the engine. */
export class Engine {
  static async start(wasm, facts) {
    return new Engine(await instantiate(wasm), facts);
  }

  constructor(code, facts) {
    this.code = code;
    this.facts = facts;
    this.buffer = 0;
    this.size = 0;
    this.results = code.malloc(16);
    this.sim = code.sim_new();
  }

  /** Write elements of a region, one a cycle; a value goes to plus and minus. */
  write(region, first, values) {
    const { code, facts } = this;
    const isValue = region === facts.regions.value;
    const words = this.#words(values.length);
    for (let k = 0; k < values.length; k++) words[k] = isValue ? values[k] * 0x101 : values[k];
    code.sim_write(this.sim, region, isValue ? facts.lanes : 1, first, values.length, this.buffer);
  }

  /** Elements of a region as unsigned words, valid until the next access. */
  read(region, first, n) {
    const words = this.#words(n);
    this.code.sim_read(this.sim, region, first, n, this.buffer);
    return words;
  }

  /** Run the program to its end. */
  run(learn) {
    if (this.code.web_run(this.sim, learn ? 1 : 0, this.results)) throw new Error("the program does not end");
    const [prediction, cycles, spikes, accesses] = this.#at(this.results, 4);
    return { prediction, cycles, spikes, accesses };
  }

  /** Run the program; yields the index and the cycle of each instruction, before its first effect. */
  *steps(learn) {
    this.code.web_start(this.sim, learn ? 1 : 0);
    for (let index; (index = this.code.web_next(this.sim)) >= 0;) {
      yield { index, cycle: this.cycles };
    }
  }

  /** Clock cycles of the present run, or of the last one. */
  get cycles() {
    return this.code.web_cycles(this.sim);
  }

  /** Clock cycles of all runs and accesses so far. */
  get total() {
    return this.code.web_total(this.sim);
  }

  /** `n` elements of a memory from `first` on, read from the simulation without a clock cycle. */
  memory(name, first, n) {
    const { index, width, stored, bytes, signed } = this.facts.memories[name];
    const { lanes } = this.facts;
    const base = this.code.sim_peek(this.sim, index);
    const memory = new Uint8Array(this.code.memory.buffer);
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
      this.buffer = this.code.malloc(4 * n); // grows a few times only, so earlier ones are not freed
      this.size = n;
    }
    return this.#at(this.buffer, n);
  }

  #at(address, n) {
    return new Uint32Array(this.code.memory.buffer, address, n);
  }
}
