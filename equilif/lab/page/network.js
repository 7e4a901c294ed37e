// Weights of a network: their digest, and their places in the engine.

import { sha256 } from "./sha256.js";

/** Digest of the weights as `equilif` prints it: names and values in the order of the synapses. */
export function weightsDigest(network, weights) {
  const parts = network.synapses.map(({ name }) => {
    const head = new TextEncoder().encode(`${name}\0`);
    const values = weights[name];
    const part = new Uint8Array(head.length + 2 * values.length);
    part.set(head);
    const view = new DataView(part.buffer, head.length);
    values.forEach((value, k) => view.setInt16(2 * k, value, true));
    return part;
  });
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return sha256(all);
}

/**
 * Element of the weight memory for each weight of a synapse: tiles of lanes x lanes, element (i, k) of a
 * tile in bank i ^ k (docs/explanation/architecture.md).
 */
export function weightAddresses({ shape: [rows, columns], tile }, lanes) {
  const across = Math.ceil(columns / lanes);
  const found = new Uint32Array(rows * columns);
  for (let row = 0, at = 0; row < rows; row++) {
    const i = row % lanes;
    for (let column = 0; column < columns; column++, at++) {
      const k = column % lanes;
      const place = tile + Math.floor(row / lanes) * across + Math.floor(column / lanes);
      found[at] = (place * lanes + i) * lanes + (i ^ k);
    }
  }
  return found;
}

/** Elements of the weight memory that the network uses. */
export function weightElements(network, lanes) {
  const ends = network.synapses.map(
    ({ shape: [rows, columns], tile }) => tile + Math.ceil(rows / lanes) * Math.ceil(columns / lanes),
  );
  return Math.max(...ends) * lanes * lanes;
}
