// Networks as files: network.npz of `equilif`.

import { FileError, readNpz, writeNpz } from "./npz.js";

const OPTIONAL = ["about", "counter", "origin"];
const MAX_WEIGHT = 32767;

/** Content of a network.npz for one of the page's networks; FileError says what is wrong with it. */
export async function readNetwork(bytes, networks) {
  const arrays = await readNpz(bytes);
  const described = parsed(arrays.network, "network");
  if (!described?.populations) throw new FileError("it has no network");
  const index = networks.findIndex(({ description }) => same(description, described));
  if (index < 0) {
    const sizes = described.populations
      .filter(({ kind }) => kind !== "constant")
      .map(({ size }) => size)
      .join("-");
    const known = networks.map((network) => network.sizes).join(" and ");
    throw new FileError(
      `it holds another network (${sizes}, or other phases): this page has programs for ${known}`,
    );
  }
  const { synapses } = networks[index];
  const wanted = ["network", ...synapses.map(({ name }) => `weights/${name}`)];
  const strange = Object.keys(arrays).filter((name) => ![...wanted, ...OPTIONAL].includes(name));
  if (strange.length) throw new FileError(`it contains ${strange.join(", ")}`);
  const weights = {};
  for (const { name, shape } of synapses) {
    const array = arrays[`weights/${name}`];
    if (!array || String(array.shape) !== String(shape))
      throw new FileError(`it has no weights ${name} of ${shape.join(" x ")}`);
    const values = Array.from(array.data, Number);
    if (values.some((value) => !Number.isInteger(value) || value > MAX_WEIGHT || value < -MAX_WEIGHT - 1)) {
      throw new FileError(`weights ${name} are not 16-bit integers`);
    }
    weights[name] = Int16Array.from(values);
  }
  const about = arrays.about ? parsed(arrays.about, "about") : null;
  return { index, weights, about, counter: Number(arrays.counter?.data[0] ?? 0) };
}

function parsed(array, name) {
  if (typeof array?.data !== "string") throw new FileError(`it has no ${name}`);
  try {
    return JSON.parse(array.data);
  } catch {
    throw new FileError(`${name} is damaged`);
  }
}

/** Whether two descriptions are equal, whatever the order of their keys. */
function same(one, other) {
  if (typeof one !== "object" || one === null || typeof other !== "object" || other === null)
    return one === other;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => key in other && same(one[key], other[key]))
  );
}

/** A network.npz as a Blob.  `origin`: a note on where the weights are from. */
export function writeNetwork(network, { weights, counter, about, origin }) {
  const arrays = { network: { shape: [], data: JSON.stringify(network.description) } };
  for (const { name, shape } of network.synapses) arrays[`weights/${name}`] = { shape, data: weights[name] };
  if (about) arrays.about = { shape: [], data: JSON.stringify(about) };
  arrays.counter = { shape: [], data: Uint32Array.of(counter) };
  if (origin) arrays.origin = { shape: [], data: origin };
  return writeNpz(arrays);
}
