// Search from the file system: browsers start no worker from file://, so the worker's script runs in a hidden
// frame. mkdocs-material's offline search expects such a script, by this name.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html>";
      this.ready = new Promise((resolve) => {
        frame.onload = () => {
          const inside = frame.contentWindow;
          const load = (source) =>
            new Promise((loaded, failed) => {
              const script = inside.document.createElement("script");
              script.src = source;
              script.onload = loaded;
              script.onerror = failed;
              inside.document.body.append(script);
            });
          // what the script knows of a worker: to speak to its page, and to load more scripts
          inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          inside.importScripts = (...sources) => sources.reduce((done, s) => done.then(() => load(s)), Promise.resolve());
          load(url).then(() => resolve(inside));
        };
      });
      if (document.body) document.body.append(frame);
      else addEventListener("DOMContentLoaded", () => document.body.append(frame));
    }

    postMessage(data) {
      this.ready.then((inside) => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
    }

    terminate() {}
  };
}
