// The page's side of the worker.

const ANSWER_MS = 10_000; // a sample takes milliseconds, starting the engine a second

/** Requests to the worker.  `onEvent` gets the progress of training, `onFailure` a text when it has ended. */
export class Client {
  constructor(source, onEvent, onFailure) {
    this.waiting = new Map();
    this.next = 0;
    this.onFailure = onFailure;
    this.heard = performance.now();
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(address);
    this.worker.onmessage = ({ data }) => {
      this.heard = performance.now();
      if (data.event) onEvent(data);
      else this.#answer(data);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.fail(`The engine has stopped: ${event.message || "its worker could not start"}.`);
    };
    this.watch = setInterval(() => this.#check(), 1000);
  }

  call(method, params = {}, transfer = []) {
    if (this.failed) return Promise.reject(new Error(this.failed));
    return new Promise((resolve, reject) => {
      const id = this.next++;
      if (!this.waiting.size) this.heard = performance.now();
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, method, params }, transfer);
    });
  }

  #answer({ id, result, error }) {
    const { resolve, reject } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(result);
  }

  #check() {
    if (this.waiting.size && performance.now() - this.heard > ANSWER_MS) {
      this.fail("The engine does not answer any more: its worker was closed, or the tab ran out of memory.");
    }
  }

  /** End the worker; all requests end with the message. */
  fail(message) {
    if (this.failed) return;
    this.failed = message;
    this.close();
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
    this.onFailure(message);
  }

  close() {
    clearInterval(this.watch);
    this.worker.terminate();
  }
}
