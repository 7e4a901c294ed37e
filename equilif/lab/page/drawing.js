// From strokes to the pixels of a network, as the images of its data set were made.

/** Image formats by the side in pixels. */
const FORMATS = {
  // digits of scikit-learn: bitmaps of 32 x 32 that the digit fills, counted in blocks of 4 x 4
  8: { fine: 32, height: 32, width: 24, thickness: 5.4, centre: "box" },
  // MNIST: 20 x 20 pixels, placed by their centre of mass in 28 x 28
  28: { fine: 112, height: 80, width: 80, thickness: 11, centre: "mass" },
};

/** Values 0..255 of side x side pixels for strokes: lists of points [x, y]. */
export function render(strokes, side) {
  const format = FORMATS[side];
  const points = strokes.flat();
  if (!points.length) return new Uint8Array(side * side);
  const fitted = fit(strokes, points, format);
  let bitmap = paint(fitted, format);
  if (format.centre === "mass") {
    const [x, y] = mass(bitmap, format.fine);
    const middle = format.fine / 2;
    bitmap = paint(
      fitted.map((stroke) => stroke.map(([a, b]) => [a + middle - x, b + middle - y])),
      format,
    );
  }
  const block = format.fine / side;
  const counts = new Uint16Array(side * side);
  bitmap.forEach((ink, k) => {
    const row = Math.floor(k / format.fine / block);
    counts[row * side + Math.floor((k % format.fine) / block)] += ink;
  });
  return Uint8Array.from(counts, (count) => Math.floor((count * 255) / block ** 2 + 0.5));
}

/** Scale the strokes to the size of the format, in the middle of the image. */
function fit(strokes, points, { fine, height, width, thickness }) {
  const ends = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const [wide, high] = ends.map(([from, to]) => to - from);
  const scale = Math.min((height - thickness) / Math.max(high, wide / 4, 0.02), 40 * fine);
  const across = Math.min(scale, (width - thickness) / Math.max(wide, 1e-9));
  const scales = [across, scale];
  return strokes.map((stroke) =>
    stroke.map((point) =>
      point.map((value, axis) => {
        const [from, to] = ends[axis];
        return fine / 2 + (value - (from + to) / 2) * scales[axis];
      }),
    ),
  );
}

/** Bitmap of lines of the format's thickness. */
function paint(strokes, { fine, thickness }) {
  const bitmap = new Uint8Array(fine * fine);
  const reach = thickness / 2;
  for (const stroke of strokes) {
    stroke.forEach(([x1, y1], k) => {
      const [x0, y0] = stroke[Math.max(0, k - 1)];
      const length = (x1 - x0) ** 2 + (y1 - y0) ** 2;
      const bounds = [
        [x0, x1],
        [y0, y1],
      ].map(([a, b]) => [
        Math.max(0, Math.floor(Math.min(a, b) - reach)),
        Math.min(fine - 1, Math.ceil(Math.max(a, b) + reach)),
      ]);
      for (let y = bounds[1][0]; y <= bounds[1][1]; y++) {
        for (let x = bounds[0][0]; x <= bounds[0][1]; x++) {
          const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
          const along = length ? (px * (x1 - x0) + py * (y1 - y0)) / length : 0;
          const t = Math.min(1, Math.max(0, along));
          const distance = Math.hypot(px - t * (x1 - x0), py - t * (y1 - y0));
          if (distance <= reach) bitmap[y * fine + x] = 1;
        }
      }
    });
  }
  return bitmap;
}

function mass(bitmap, fine) {
  let [n, x, y] = [0, 0, 0];
  bitmap.forEach((ink, k) => {
    n += ink;
    x += ink * ((k % fine) + 0.5);
    y += ink * (Math.floor(k / fine) + 0.5);
  });
  return [x / n, y / n];
}
