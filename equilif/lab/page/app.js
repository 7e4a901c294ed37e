// The page: sections Draw, Teach, Train, Look inside and Keep.

import { paintImage, showCurve, showRates } from "./charts.js";
import { Client } from "./client.js";
import { render } from "./drawing.js";
import { readNetwork, writeNetwork } from "./files.js";
import { $, Inside } from "./inside.js";
import { FileError, readNpz } from "./npz.js";
import { Pad } from "./pad.js";

const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits });
const percent = (part, all) => `${((100 * part) / all).toFixed(2)} %`;
const DIGITS = Array.from("0123456789");
const TAUGHT = "taught by hand on the page of equilif lab";
const MAX_REPEATS = 100; // of "Learn until right"
const MAX_PASSES = 60; // of "Learn all drawings"
const WEIGHTS_MS = 700; // between two pictures of the weights in training
const CURVE_SAMPLES = 80; // a point of the learning curve

const facts = JSON.parse($("facts").textContent);
const lab = {
  network: 0,
  names: DIGITS,
  label: null,
  x: null,
  sample: null,
  answer: null,
  about: null,
  taught: false,
  own: null,
  training: null,
  curve: { trained: [], tests: [] },
};
let arrays; // of the page: samples and weights
let inside;
let pad;

// -- messages -------------------------------------------------------------------------------------
function say(id, text, wrong = false) {
  $(id).classList.toggle("no", wrong);
  $(id).textContent = text;
}

function alarm(text, { restart = true } = {}) {
  $("alert").hidden = false;
  $("alert").firstElementChild.textContent = text;
  $("restart").hidden = !restart;
  $("state").textContent = "stopped";
}

/** Run an action of the page; an error is shown where the action belongs. */
const guarded =
  (id, action) =>
  async (...given) => {
    try {
      await action(...given);
    } catch (error) {
      if (error instanceof FileError) say(id, `This file cannot be used: ${error.message}.`, true);
      else if (!lab.client?.failed) alarm(`Error: ${error.message}`);
    }
  };

// -- engine ---------------------------------------------------------------------------------------
function missing() {
  const needed = {
    WebAssembly: "WebAssembly",
    Worker: "workers",
    DecompressionStream: "DecompressionStream",
  };
  return Object.keys(needed)
    .filter((name) => typeof globalThis[name] === "undefined")
    .map((name) => needed[name]);
}

async function startEngine() {
  $("alert").hidden = true;
  $("state").textContent = "starting";
  lab.client = new Client($("worker").textContent, trainingEvent, (message) => {
    showTraining(null);
    alarm(message);
  });
  const data = {
    xTrain: arrays.x_train.data,
    yTrain: arrays.y_train.data,
    xTest: arrays.x_test.data,
    yTest: arrays.y_test.data,
    orders: arrays.orders.data,
  };
  await lab.client.call("open", {
    wasm: arrays.engine.data,
    facts: facts.engine,
    networks: facts.networks,
    data,
  });
  await load(0, "trained");
}

const network = () => facts.networks[lab.network];

const storedWeights = (index, part) =>
  Object.fromEntries(
    facts.networks[index].synapses.map(({ name }) => [
      name,
      arrays[`${facts.networks[index].name}/${part}/${name}`].data,
    ]),
  );

/** Load a network of the page: `part` is trained or start. */
async function load(index, part) {
  await loadWeights(index, storedWeights(index, part), { about: facts.networks[index].about });
  $("network").value = `${index}/${part}`;
}

async function loadWeights(index, weights, { about = null, counter = 0 }) {
  const changed = lab.network !== index || !lab.x;
  Object.assign(lab, { network: index, about, taught: false, own: null, names: about?.labels ?? DIGITS });
  showTraining(null);
  const state = await lab.client.call("load", { network: index, weights, counter });
  inside.setNetwork(network());
  inside.setWeights(weights);
  showTotal(state.total);
  $("state").textContent = network().sizes;
  $("format").textContent = `${network().side} x ${network().side}`;
  $("example").disabled = network().data !== "digits";
  showOwn();
  say("taught", "");
  if (changed && network().data === "digits") showExample(0);
  else redraw();
}

function showTotal(total) {
  $("cycles").textContent = number(total);
}

/** Speed of the simulation and of the board, from samples of so many cycles. */
function showSpeed(cycles, ms, samples = 1) {
  if (ms > 0) $("speed").textContent = number(Math.round(cycles / ms) * 1000);
  lab.perSample = cycles / samples;
  showBoard();
}

function showBoard() {
  if (!lab.perSample) return;
  const rate = facts.boards[$("board").value].hz / lab.perSample;
  $("onboard").textContent = `${number(1e6 / rate, 0)} µs, ${number(rate)}/s`;
}

// -- draw -----------------------------------------------------------------------------------------
function redraw() {
  const { side } = network();
  see(
    pad.image
      ? pad.image.side === side
        ? pad.image.values
        : new Uint8Array(side * side)
      : render(pad.strokes, side),
  );
}

/** Take new input values; while the engine is busy the last ones wait. */
function see(x) {
  lab.x = x;
  paintImage($("seen"), x, network().side);
  infer();
}

const infer = guarded("taught", async () => {
  lab.wanted = true;
  if (lab.inferring) return;
  lab.inferring = true;
  try {
    while (lab.wanted) {
      lab.wanted = false;
      if (!lab.x.some((value) => value)) {
        showAnswer(null);
        continue;
      }
      const result = await lab.client.call("infer", { x: lab.x });
      if (!lab.training?.running) showSpeed(result.cycles, result.ms);
      showTotal(result.total);
      showAnswer(result);
    }
  } finally {
    lab.inferring = false;
  }
});

function showAnswer(result) {
  lab.answer = result?.prediction ?? null;
  const names = Array.from({ length: network().target.size }, (_, k) => lab.names[k] ?? "·");
  const text = result ? names[result.prediction] : "-";
  $("answer").textContent = text;
  $("answer").parentElement.classList.toggle("word", text.length > 2);
  showRates($("rates"), names, result?.rates, result?.prediction);
  enableActions();
}

function enableActions() {
  const some = lab.answer !== null;
  for (const id of ["learn", "repeat"]) $(id).disabled = !some || lab.label === null;
  $("trace").disabled = !some;
  $("trace-learn").disabled = !some || lab.label === null;
}

function showExample(sample = Math.floor(Math.random() * arrays.y_test.data.length)) {
  const values = arrays.x_test.data.slice(64 * sample, 64 * (sample + 1));
  pad.image = { values, side: 8 };
  pad.strokes = [];
  pad.paint();
  chooseLabel(lab.own ? lab.label : arrays.y_test.data[sample]);
  see(values);
}

// -- teach ----------------------------------------------------------------------------------------
function chooseLabel(label) {
  lab.label = label;
  [...$("labels").querySelectorAll("button")].forEach((button, k) =>
    button.setAttribute("aria-pressed", k === label),
  );
  enableActions();
}

function showLabels() {
  $("labels").replaceChildren(
    ...lab.names.map((name, k) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => chooseLabel(k));
      if (!lab.own) return button;
      const edit = document.createElement("input");
      edit.value = name;
      edit.maxLength = 16;
      edit.setAttribute("aria-label", `Name of class ${k + 1}`);
      edit.addEventListener("change", () => {
        lab.names[k] = edit.value.trim() || name;
        showLabels();
        infer();
      });
      const pair = document.createElement("span");
      pair.append(button, edit);
      return pair;
    }),
  );
  if (lab.label >= lab.names.length) lab.label = 0;
  chooseLabel(lab.label);
}

function showOwn() {
  const own = Boolean(lab.own);
  $("own").checked = own;
  $("own-tools").hidden = $("drawings").hidden = !own;
  $("teach-help").hidden = $("repeat").hidden = own;
  $("learn").textContent = own ? "Add the drawing" : "Learn once";
  showLabels();
  showDrawings();
}

function showDrawings() {
  $("drawings").replaceChildren(
    ...(lab.own?.drawings ?? []).map(({ x, label, right }) => {
      const entry = document.createElement("li");
      const picture = document.createElement("canvas");
      picture.className = "pixels";
      paintImage(picture, x, network().side);
      entry.append(picture, `${lab.names[label]}${right === undefined ? "" : right ? " ✓" : " ✗"}`);
      return entry;
    }),
  );
  $("learn-all").disabled = new Set(lab.own?.drawings.map(({ label }) => label)).size < 2;
  $("add-class").disabled = lab.names.length >= network().target.size;
}

const switchOwn = guarded("taught", async () => {
  if (!$("own").checked) {
    await load(lab.network, "trained");
    return;
  }
  const index = lab.network;
  await loadWeights(index, storedWeights(index, "start"), {});
  $("network").value = `${index}/start`;
  Object.assign(lab, { own: { drawings: [] }, names: ["A", "B"], label: 0 });
  pad.clear();
  showOwn();
  infer();
});

const learn = guarded("taught", async () => {
  if (lab.own) {
    lab.own.drawings.push({ x: lab.x, label: lab.label });
    const n = lab.own.drawings.filter(({ label }) => label === lab.label).length;
    say("taught", `${lab.names[lab.label]}: ${n} drawing${n > 1 ? "s" : ""}.`);
    pad.clear();
    showDrawings();
    return;
  }
  await teach(1);
});

/** Train on the drawing until the answer is right, at most so often. */
async function teach(limit) {
  const { x, label } = lab;
  const before = await lab.client.call("infer", { x });
  let [times, after] = [0, before];
  do {
    const { total } = await lab.client.call("teach", { samples: [{ x, label }] });
    showTotal(total);
    after = await lab.client.call("infer", { x });
    times++;
  } while (after.prediction !== label && times < limit);
  taughtByHand();
  const name = (answer) => lab.names[answer] ?? "none";
  const change =
    before.prediction === after.prediction
      ? `The answer is still ${name(after.prediction)}`
      : `The answer was ${name(before.prediction)}, now it is ${name(after.prediction)}`;
  say(
    "taught",
    `${change}. Rate of ${name(label)}: ${before.rates[label]} before, ${after.rates[label]} after ` +
      `${times} sample${times > 1 ? "s" : ""}.`,
  );
  if (x === lab.x) showAnswer(after);
  await showWeights();
}

const learnAll = guarded("taught", async () => {
  const { drawings } = lab.own;
  let [passes, right] = [0, 0];
  while (passes < MAX_PASSES && right < 2 * drawings.length) {
    const samples = shuffled(drawings, passes).map(({ x, label }) => ({ x, label }));
    const { results, total } = await lab.client.call("teach", { samples });
    const hits = results.filter(({ prediction }, k) => prediction === samples[k].label).length;
    right = hits === samples.length ? right + hits : 0; // two passes without an error
    passes++;
    showTotal(total);
    say("taught", `Pass ${passes}: ${hits} of ${samples.length} right before their update.`);
  }
  for (const drawing of drawings) {
    const { prediction } = await lab.client.call("infer", { x: drawing.x });
    drawing.right = prediction === drawing.label;
  }
  taughtByHand();
  const hits = drawings.filter((drawing) => drawing.right).length;
  say("taught", `${hits} of ${drawings.length} drawings right after ${passes} passes. Draw another one.`);
  showDrawings();
  await showWeights();
  infer();
});

function shuffled(list, seed) {
  const found = [...list];
  let state = seed + 1;
  for (let k = found.length - 1; k > 0; k--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (k + 1));
    [found[k], found[other]] = [found[other], found[k]];
  }
  return found;
}

function taughtByHand() {
  lab.taught = true;
  if (lab.training) lab.training.taught = true;
}

async function showWeights() {
  inside.setWeights((await lab.client.call("weights")).weights);
}

// -- train ----------------------------------------------------------------------------------------
const startTraining = guarded("training-state", async () => {
  if (lab.training) {
    lab.training.running = !lab.training.running;
    await controlTraining();
    return;
  }
  await load(0, "start");
  showTraining({ running: true, trained: [], tests: [], window: [0, 0], taught: false, weightsAt: 0 });
  $("epochs").replaceChildren();
  await lab.client.call("train", { epoch: 0, speed: Number($("pace").value) });
});

async function controlTraining() {
  showTraining(lab.training);
  if (lab.training) {
    await lab.client.call("control", { paused: !lab.training.running, speed: Number($("pace").value) });
  }
}

function showTraining(training) {
  lab.training = training;
  $("start").textContent = training ? (training.running ? "Pause" : "Resume") : "Train from nothing";
  if (training) say("training-state", training.running ? "" : "Paused.");
}

const resetTraining = guarded("training-state", async () => {
  await lab.client.call("stop");
  await load(0, "start");
  drawCurve({ trained: [], tests: [] });
  for (const id of ["epoch", "done", "pace-now", "per-sample"]) $(id).textContent = "-";
  $("epochs").replaceChildren();
  say("training-state", "Untrained weights are loaded.");
});

function trainingEvent(event) {
  if (event.event === "failed") alarm(`Training has stopped: ${event.error}`);
  const { training } = lab;
  if (!training) return;
  if (event.event === "progress") progress(training, event);
  if (event.event === "epoch") epochDone(training, event);
  if (event.event === "finished") {
    showTraining(null);
    const same = facts.networks[0].name;
    say(
      "training-state",
      training.taught ? "All epochs are done." : `All epochs are done: these are the weights of ${same}.`,
    );
  }
}

function progress(training, { epoch, part, samples, hits, cycles, ms, last, total }) {
  const learning = part === "train";
  const all = (learning ? arrays.y_train : arrays.y_test).data.length;
  showTotal(total);
  showSpeed(cycles, ms, samples);
  $("epoch").textContent = `${epoch + 1} of ${facts.golden.length}`;
  $("done").textContent = `${number(samples)} of ${number(all)}, ${learning ? "training" : "test"}`;
  $("pace-now").textContent = number((1000 * samples) / ms);
  $("per-sample").textContent = number(cycles / samples);
  $("state").textContent = `${network().sizes}, epoch ${epoch + 1}`;
  const x = (learning ? arrays.x_train : arrays.x_test).data;
  lab.sample = x.subarray(64 * last.sample, 64 * (last.sample + 1));
  paintImage($("sample"), lab.sample, 8);
  if (!learning) return;
  const [from, before] = samples < training.window[0] ? [0, 0] : training.window;
  if (samples - from >= CURVE_SAMPLES || samples === all) {
    if (samples > from) {
      training.trained.push([epoch + (samples + from) / 2 / all, (hits - before) / (samples - from)]);
    }
    training.window = samples === all ? [0, 0] : [samples, hits];
    drawCurve(training);
  }
  if (performance.now() - training.weightsAt > WEIGHTS_MS) {
    training.weightsAt = performance.now();
    guarded("training-state", showWeights)();
  }
}

function drawCurve({ trained: running, tests } = lab.curve) {
  lab.curve = { trained: running, tests };
  showCurve($("curve"), { running, tests, epochs: facts.golden.length });
}

function epochDone(training, { epoch, trained, tested, digest, total }) {
  const golden = facts.golden[epoch];
  showTotal(total);
  training.tests.push([epoch + 1, tested.hits / tested.samples]);
  drawCurve(training);
  const equal =
    digest === golden.digest &&
    trained.hits === golden.hits &&
    trained.spikes === golden.spikes &&
    tested.hits === golden.test;
  const verdict = training.taught ? "taught by hand" : equal ? "✓ equal" : "✗ differs";
  const row = $("epochs").insertRow(0);
  const accuracies = [trained, tested].map(({ hits, samples }) => percent(hits, samples));
  [epoch + 1, ...accuracies, verdict, digest, golden.digest].forEach((text, k) => {
    const cell = row.insertCell();
    const isDigest = k > 3;
    cell.textContent = isDigest ? `${text.slice(0, 16)}…` : text;
    if (isDigest) cell.title = text;
    cell.className = `${k > 2 ? "left" : ""} ${isDigest ? "digest" : ""}`;
  });
  row.cells[3].classList.add(training.taught ? "soft" : equal ? "equal" : "differs");
  row.dataset.digest = digest;
  say("training-state", `Epoch ${epoch + 1}: ${percent(tested.hits, tested.samples)} of the test samples.`);
  if (lab.x) infer();
}

// -- look inside ----------------------------------------------------------------------------------
const traced = (learning) =>
  guarded("taught", async () => {
    const label = learning ? lab.label : null;
    const trace = await lab.client.call("trace", { x: lab.x, label });
    if (learning) {
      taughtByHand();
      await showWeights();
      infer();
    }
    inside.setTrace(trace);
  });

// -- keep -----------------------------------------------------------------------------------------
const download = guarded("kept", async () => {
  const { weights, counter } = await lab.client.call("weights");
  const origin = lab.taught ? TAUGHT : null;
  const file = writeNetwork(network(), { weights, counter, about: lab.own ? null : lab.about, origin });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "network.npz";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say("kept", `network.npz: ${network().sizes}, ${number(file.size)} bytes.`);
});

const upload = guarded("kept", async () => {
  const [file] = $("upload").files;
  if (!file) return;
  $("upload").value = "";
  const found = await readNetwork(new Uint8Array(await file.arrayBuffer()), facts.networks);
  await loadWeights(found.index, found.weights, found);
  const option = $("network").querySelector("option[value=file]") ?? new Option("", "file");
  option.text = `${file.name}: ${network().sizes}`;
  $("network").append(option);
  $("network").value = "file";
  lab.file = found;
  say("kept", `${file.name} is loaded: ${network().sizes}.`);
});

// -- start ----------------------------------------------------------------------------------------
function fillIn() {
  const values = {
    board: facts.engine.board.replace(" (", " FPGA board ("),
    version: facts.version,
    sizes: facts.networks.map(({ sizes }) => sizes).join(" or "),
  };
  for (const place of document.querySelectorAll("[data-fact]"))
    place.textContent = values[place.dataset.fact];
  facts.networks.forEach(({ name, sizes }, k) => {
    $("network").append(
      new Option(`${name}: ${sizes}, trained`, `${k}/trained`),
      new Option(`${sizes}, untrained`, `${k}/start`),
    );
  });
  facts.boards.forEach(({ title, hz }, k) => {
    $("board").append(new Option(`${title.replace(/ \(.*/, "")}, ${hz / 1e6} MHz`, k));
  });
  $("train-data").textContent =
    `${number(arrays.y_train.data.length)} digits of 8 x 8 pixels, one at a time; ` +
    `${arrays.y_test.data.length} to test`;
}

function connect() {
  const pick = guarded("taught", () => {
    const [index, part] = $("network").value.split("/");
    return part ? load(Number(index), part) : loadWeights(lab.file.index, lab.file.weights, lab.file);
  });
  const actions = {
    clear: () => pad.clear(),
    undo: () => pad.undo(),
    example: () => showExample(),
    learn,
    repeat: guarded("taught", () => teach(MAX_REPEATS)),
    "add-class": () => {
      lab.names.push("ABCDEFGHIJ"[lab.names.length]);
      showOwn();
      infer();
    },
    "learn-all": learnAll,
    start: startTraining,
    reset: resetTraining,
    trace: traced(false),
    "trace-learn": traced(true),
    download,
    restart: guarded("taught", startEngine),
  };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  const changes = {
    network: pick,
    board: showBoard,
    own: switchOwn,
    pace: guarded("training-state", controlTraining),
    upload,
  };
  for (const [id, action] of Object.entries(changes)) $(id).addEventListener("change", action);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    pad.paint();
    if (lab.x) paintImage($("seen"), lab.x, network().side);
    if (lab.sample) paintImage($("sample"), lab.sample, 8);
    showDrawings();
    guarded("taught", showWeights)();
    inside.paint();
  });
}

async function start() {
  globalThis.labStarted = true;
  const without = missing();
  if (without.length) {
    alarm(`This browser has no ${without.join(", no ")}: the page needs one of 2023 or later.`, {
      restart: false,
    });
    return;
  }
  arrays = await readNpz(Uint8Array.from(atob($("content").textContent), (c) => c.charCodeAt(0)));
  inside = new Inside();
  pad = new Pad($("pad"), redraw);
  fillIn();
  connect();
  new ResizeObserver(() => drawCurve()).observe($("curve"));
  await startEngine();
}

globalThis.lab = lab; // for the console of the browser
guarded("taught", start)();
