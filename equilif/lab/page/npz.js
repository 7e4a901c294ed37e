// NumPy's .npz: a ZIP archive of .npy arrays.  Reads stored and deflated members, writes stored ones.

/** A file that is damaged, or is something else. */
export class FileError extends Error {}

const TYPES = {
  "|u1": Uint8Array,
  "|i1": Int8Array,
  "<u2": Uint16Array,
  "<i2": Int16Array,
  "<u4": Uint32Array,
  "<i4": Int32Array,
  "<i8": BigInt64Array,
  "<u8": BigUint64Array,
};
const MAX_BYTES = 64 << 20; // of a member: a damaged header may claim anything

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Arrays of an .npz by name: {shape, data}, where the data of a text is a string. */
export async function readNpz(bytes) {
  const found = {};
  for (const [name, member] of await unzip(bytes)) {
    if (!name.endsWith(".npy")) throw new FileError(`it contains ${name}, which is no array`);
    found[name.slice(0, -4)] = readNpy(member, name);
  }
  return found;
}

async function unzip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new FileError("it is not a complete .npz file");
  const members = [];
  let at = view.getUint32(end + 16, true);
  try {
    for (let left = view.getUint16(end + 10, true); left; left--) {
      if (view.getUint32(at, true) !== 0x02014b50) throw new FileError("its directory is damaged");
      const [method, crc, packed, size, start] = [
        view.getUint16(at + 10, true),
        view.getUint32(at + 16, true),
        view.getUint32(at + 20, true),
        view.getUint32(at + 24, true),
        view.getUint32(at + 42, true),
      ];
      const [nameLength, extra, comment] = [28, 30, 32].map((k) => view.getUint16(at + k, true));
      const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
      const first = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
      members.push([name, await unpack(bytes.subarray(first, first + packed), { name, method, crc, size })]);
      at += 46 + nameLength + extra + comment;
    }
  } catch (error) {
    throw error instanceof RangeError ? new FileError("it is cut off or damaged") : error;
  }
  return members;
}

async function unpack(packed, { name, method, crc, size }) {
  if (size > MAX_BYTES) throw new FileError(`${name} has ${size} bytes, which is too much`);
  if (method !== 0 && method !== 8) throw new FileError(`${name} is compressed in an unknown way`);
  let content = packed;
  if (method === 8) {
    try {
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
      content = new Uint8Array(await new Response(stream).arrayBuffer());
    } catch {
      throw new FileError(`${name} is damaged`);
    }
  }
  if (content.length !== size || crc32(content) !== crc) throw new FileError(`${name} is damaged`);
  return content;
}

function readNpy(bytes, name) {
  const magic = [0x93, ...new TextEncoder().encode("NUMPY")];
  if (!magic.every((byte, k) => bytes[k] === byte)) throw new FileError(`${name} is no array`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const long = bytes[6] > 1;
  const start = (long ? 12 : 10) + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(10, start));
  const type = /'descr': '([^']+)'/.exec(header)?.[1] ?? "?";
  const shape =
    /'shape': \(([^)]*)\)/
      .exec(header)?.[1]
      .split(",")
      .filter((n) => n.trim())
      .map(Number) ?? [];
  if (/'fortran_order': True/.test(header) && shape.length > 1)
    throw new FileError(`${name} lies by columns`);
  const content = bytes.slice(start);
  if (/^<U\d+$/.test(type)) return { shape, data: text(content) };
  const Type = TYPES[type];
  if (!Type) throw new FileError(`${name} has values of type ${type}`);
  const n = shape.reduce((product, size) => product * size, 1);
  if (content.length !== n * Type.BYTES_PER_ELEMENT) throw new FileError(`${name} is cut off`);
  return { shape, data: new Type(content.buffer) };
}

/** A text as NumPy stores it: four bytes a character, with zeros at the end. */
function text(bytes) {
  const codes = new Uint32Array(bytes.buffer, 0, bytes.length >> 2);
  try {
    return Array.from(codes, (code) => (code ? String.fromCodePoint(code) : "")).join("");
  } catch {
    throw new FileError("it contains a damaged text");
  }
}

/** An .npz of arrays {shape, data}; data is a string, an Int16Array or a Uint32Array. */
export function writeNpz(arrays) {
  const chunks = [];
  const directory = [];
  let at = 0;
  for (const [key, array] of Object.entries(arrays)) {
    const name = new TextEncoder().encode(`${key}.npy`);
    const content = writeNpy(array);
    // version, flags, method, time, date (1 January 1980), CRC, both sizes, lengths of name and extra field
    const fields = new DataView(new ArrayBuffer(26));
    [
      [0, 20],
      [8, 0x21],
      [22, name.length],
    ].forEach(([place, value]) => fields.setUint16(place, value, true));
    [
      [10, crc32(content)],
      [14, content.length],
      [18, content.length],
    ].forEach(([place, value]) => {
      fields.setUint32(place, value, true);
    });
    const shared = new Uint8Array(fields.buffer);
    const tail = new DataView(new ArrayBuffer(14)); // comment, disk, attributes, place of the member
    tail.setUint32(10, at, true);
    chunks.push(Uint8Array.of(0x50, 0x4b, 3, 4), shared, name, content);
    directory.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), shared, new Uint8Array(tail.buffer), name);
    at += 30 + name.length + content.length;
  }
  const size = directory.reduce((n, part) => n + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  [8, 10].forEach((place) => end.setUint16(place, Object.keys(arrays).length, true));
  end.setUint32(12, size, true);
  end.setUint32(16, at, true);
  return new Blob([...chunks, ...directory, end.buffer], { type: "application/octet-stream" });
}

function writeNpy({ shape, data }) {
  const isText = typeof data === "string";
  const codes = isText ? Uint32Array.from(data, (c) => c.codePointAt(0)) : data;
  const type = isText ? `<U${codes.length}` : data instanceof Int16Array ? "<i2" : "<u4";
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dict = `{'descr': '${type}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const header = `${dict.padEnd(Math.ceil((dict.length + 11) / 64) * 64 - 11)}\n`;
  const start = Uint8Array.of(
    0x93,
    0x4e,
    0x55,
    0x4d,
    0x50,
    0x59,
    1,
    0,
    header.length & 255,
    header.length >> 8,
  );
  const values = new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
  const found = new Uint8Array(start.length + header.length + values.length);
  found.set(start);
  found.set(new TextEncoder().encode(header), start.length);
  found.set(values, start.length + header.length);
  return found;
}
