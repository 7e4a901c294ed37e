// Worker: owns the engine, answers requests {id, method, params} in order, and trains in the background.

import { Chip } from "./chip.js";
import { Engine } from "./engine.js";
import { weightsDigest } from "./network.js";

const PAUSE_MS = 25; // training yields to requests so often

const lab = { engine: null, chip: null, data: null, networks: [], training: null };

const channel = new MessageChannel();

/** Let waiting requests in. */
const breathe = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const methods = {
  async open({ wasm, facts, networks, data }) {
    lab.engine = await Engine.start(wasm, facts);
    Object.assign(lab, { networks, data });
    return { total: lab.engine.total };
  },

  load({ network, weights, counter }) {
    stop();
    lab.chip = new Chip(lab.engine, lab.networks[network]);
    lab.chip.loadWeights(weights, counter);
    return state();
  },

  infer({ x }) {
    const began = performance.now();
    const result = lab.chip.run(x);
    const ms = performance.now() - began;
    return { ...result, ms, rates: lab.chip.rates(), total: lab.engine.total };
  },

  /** Train on labelled samples, one after the other. */
  teach({ samples }) {
    if (!lab.training) lab.chip.setLearningRate(0);
    const results = samples.map(({ x, label }) => lab.chip.run(x, label));
    return { results, ...state() };
  },

  trace({ x, label }) {
    if (!lab.training) lab.chip.setLearningRate(0);
    const trace = lab.chip.trace(x, label);
    return { ...trace, rates: label === null ? lab.chip.rates() : null };
  },

  state,

  weights: () => ({ weights: lab.chip.weights(), counter: lab.chip.counter }),

  /** Train and test epoch after epoch from `epoch` on; events tell the progress. */
  train({ epoch, speed }) {
    if (lab.training) throw new Error("it trains already");
    lab.training = { paused: false, speed };
    epochs(lab.training, epoch).catch((error) => postMessage({ event: "failed", error: String(error) }));
    return {};
  },

  control({ paused, speed }) {
    if (lab.training) Object.assign(lab.training, { paused, speed });
    return {};
  },

  stop,
};

function stop() {
  if (lab.training) lab.training.stopped = true;
  lab.training = null;
  return {};
}

function state() {
  const weights = lab.chip.weights();
  return {
    digest: weightsDigest(lab.chip.network, weights),
    total: lab.engine.total,
    counter: lab.chip.counter,
  };
}

async function epochs(job, first) {
  const { orders, yTrain } = lab.data;
  const perEpoch = yTrain.length;
  for (let epoch = first; epoch < orders.length / perEpoch; epoch++) {
    lab.chip.setLearningRate(epoch);
    const order = orders.subarray(epoch * perEpoch, (epoch + 1) * perEpoch);
    const trained = await pass(job, { epoch, part: "train", order });
    if (job.stopped) return;
    const tested = await pass(job, {
      epoch,
      part: "test",
      order: Array.from(lab.data.yTest, (_, k) => k),
      limited: false,
    });
    if (job.stopped) return;
    postMessage({ event: "epoch", epoch, trained, tested, ...state() });
  }
  lab.training = null;
  postMessage({ event: "finished" });
}

/** Samples in an order: training samples, or test samples without learning. */
async function pass(job, { epoch, part, order, limited = true }) {
  const learn = part === "train";
  const [x, y] = learn ? [lab.data.xTrain, lab.data.yTrain] : [lab.data.xTest, lab.data.yTest];
  const inputs = lab.chip.network.input.size;
  const sum = { samples: 0, hits: 0, spikes: 0, cycles: 0, ms: 0 };
  let began = performance.now();
  for (let k = 0; k < order.length; k++) {
    const sample = order[k];
    const result = lab.chip.run(x.subarray(sample * inputs, (sample + 1) * inputs), learn ? y[sample] : null);
    sum.samples++;
    sum.hits += result.prediction === y[sample];
    sum.spikes += result.spikes;
    sum.cycles += result.cycles;
    const slow = limited && job.speed < Infinity;
    if (!slow && performance.now() - began < PAUSE_MS && k + 1 < order.length && !job.paused) continue;
    sum.ms += performance.now() - began;
    const last = { sample, prediction: result.prediction };
    postMessage({ event: "progress", epoch, part, ...sum, last, total: lab.engine.total });
    if (slow) await sleep(1000 / job.speed);
    else await breathe();
    while (job.paused && !job.stopped) await sleep(PAUSE_MS);
    if (job.stopped) return sum;
    // a request may have set another learning rate meanwhile
    began = performance.now();
  }
  return sum;
}

onmessage = async ({ data: { id, method, params } }) => {
  try {
    postMessage({ id, result: await methods[method](params ?? {}) });
  } catch (error) {
    postMessage({ id, error: String(error.message ?? error) });
  }
};
