// Drawing pad: pointer, touch and keyboard.

const STEP = 1 / 24; // of the keyboard's pen

export class Pad {
  /** `changed` is called after each change of the strokes. */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = [];
    this.image = null; // {values, side}, in place of strokes
    this.pen = { x: 0.5, y: 0.25, down: false, shown: false };
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, () => {
        this.drawing = false;
      });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => {
      this.pen.shown = this.pen.down = false;
      this.paint();
    });
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  clear() {
    this.strokes = [];
    this.#update();
  }

  undo() {
    this.strokes.pop();
    this.#update();
  }

  #update() {
    this.image = null;
    this.paint();
    this.changed();
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #down(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = true;
    this.pen.shown = false;
    this.strokes.push([this.#place(event)]);
    this.#update();
  }

  #move(event) {
    if (!this.drawing) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) this.strokes.at(-1).push(this.#place(each));
    this.#update();
  }

  #key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { pen } = this;
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      pen.x = Math.min(0.98, Math.max(0.02, pen.x + dx * STEP));
      pen.y = Math.min(0.98, Math.max(0.02, pen.y + dy * STEP));
      pen.shown = true;
      if (pen.down) {
        this.strokes.at(-1).push([pen.x, pen.y]);
        this.#update();
      }
      this.paint();
    } else if (event.key === " ") {
      pen.down = !pen.down;
      pen.shown = true;
      if (pen.down) this.strokes.push([[pen.x, pen.y]]);
      this.#update();
    } else if (event.key === "Escape" || event.key === "Delete") {
      this.clear();
    } else if (event.key === "Backspace") {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
  }

  paint() {
    const { canvas, pen } = this;
    const size = Math.round(canvas.clientWidth * devicePixelRatio);
    if (!size) return;
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, size, size);
    context.strokeStyle = context.fillStyle = style.color;
    if (this.image) this.#paintImage(context, size);
    context.lineWidth = size / 14;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      stroke.forEach(([x, y]) => context.lineTo(x * size, y * size));
      if (stroke.length === 1) context.lineTo(stroke[0][0] * size + 0.01, stroke[0][1] * size);
      context.stroke();
    }
    if (pen.shown) {
      context.lineWidth = 2 * devicePixelRatio;
      context.strokeStyle = style.getPropertyValue("--red");
      context.beginPath();
      context.arc(pen.x * size, pen.y * size, size / (pen.down ? 36 : 22), 0, 7);
      context.stroke();
    }
  }

  #paintImage(context, size) {
    const { values, side } = this.image;
    const cell = size / side;
    values.forEach((value, k) => {
      context.globalAlpha = value / 255;
      context.fillRect((k % side) * cell, Math.floor(k / side) * cell, cell + 0.5, cell + 0.5);
    });
    context.globalAlpha = 1;
  }
}
