"""Parts of the page of `equilif lab` without a browser: digests, weights, files, drawings, server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equilif.data.sets import images
from equilif.lab import build, serve
from equilif.training.backends import phases
from equilif.training.settings.presets import PRESETS
from equilif.training.storage import saved
from equilif.training.storage.history import digest
from equilif.training.storage.pretrained import Card, model_path
from equilif_golden import network as networks
from equilif_golden.engine.compiler import Compiled
from tests.programs import program

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


def node(code: str, *given: object) -> Any:
    """Result of JavaScript with all names of the page's modules; ``given`` are its arguments, as JSON."""
    names = ("sha256", "network", "npz", "files", "drawing")
    imports = "".join(f"import * as {n} from {json.dumps(str(build.FOLDER / n) + '.js')};\n" for n in names)
    text = (
        f"import {{ readFileSync, writeFileSync }} from 'node:fs';\n{imports}"
        f"const given = {json.dumps(given)};\n"
        f"console.log(JSON.stringify(await (async () => {{ {code} }})()));"
    )
    done = subprocess.run(["node", "--input-type=module", "-"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def described() -> list[dict[str, Any]]:
    return [build._network(name)[0] for name in build.MODELS]


def test_data_are_those_of_the_command():
    """The page has the samples of `equilif train digits`: no augmentation, and its order."""
    preset = PRESETS["digits"]
    data = images.digits()
    found = build._digits(data)
    for epoch in (0, preset.epochs - 1):
        plan = phases.epoch_plan(preset, data, preset.seeds[0], epoch)
        assert np.array_equal(plan.samples().x, found["x_train"])
        assert np.array_equal(plan.order, found["orders"][epoch])


@pytest.mark.regress  # the kernel trains 20 epochs
def test_golden_model_ends_at_pretrained_network():
    assert build.golden(images.digits())[-1]["digest"] == Card.all()[build.MODELS[0]].digest


@pytest.mark.parametrize("name", build.MODELS)
def test_weights_at_their_places(name, described):
    """Elements and digest of the weights, as compiler and history have them."""
    network, weights = networks.load(model_path(name))
    compiled = Compiled(network, build.BOARDS[build.BOARD].config)
    about = next(a for a in described if a["name"] == name)
    flat = {key: value.ravel().tolist() for key, value in weights.items()}
    code = """
        const [about, weights, lanes] = given;
        const words = new Array(network.weightElements(about, lanes)).fill(0);
        for (const s of about.synapses) {
            network.weightAddresses(s, lanes).forEach((a, k) => { words[a] = weights[s.name][k]; });
        }
        return [network.weightsDigest(about, weights), words];"""
    found, words = node(code, about, flat, compiled.config.lanes)
    assert found == digest(weights)
    assert words == compiled.weight_words(weights).ravel().tolist()


@pytest.mark.parametrize("name", build.MODELS)
def test_network_files_of_both_sides(name, described, tmp_path):
    """The page reads files of equilif, and equilif those of the page."""
    path = tmp_path / "network.npz"
    code = """
        const [source, target, known] = given;
        const found = await files.readNetwork(new Uint8Array(readFileSync(source)), known);
        const blob = files.writeNetwork(known[found.index], { ...found, counter: 7, origin: "by hand" });
        writeFileSync(target, new Uint8Array(await blob.arrayBuffer()));
        const again = await files.readNetwork(new Uint8Array(readFileSync(target)), known);
        return again.counter;"""
    assert node(code, str(model_path(name)), str(path), described) == 7
    one, other = saved.read(model_path(name)), saved.read(path)
    assert digest(one.weights) == digest(other.weights)
    assert one.network == other.network and one.identity == other.identity
    assert networks.read(path).counter == 7 and other.origin == "by hand"


def damaged(kind: str, folder: Path) -> Path:
    """A file that is no network of the page."""
    content = model_path(build.MODELS[0]).read_bytes()
    path = folder / "network.npz"
    arrays = dict(np.load(model_path(build.MODELS[0])))
    if kind == "text":
        path.write_text("hello" * 100)
    elif kind == "cut off":
        path.write_bytes(content[:-300])
    elif kind == "bits":
        path.write_bytes(content[:2000] + bytes(b ^ 255 for b in content[2000:2100]) + content[2100:])
    elif kind == "sizes":
        network = networks.Network.chain(64, 32, 10)
        networks.save(path, network, network.initial_weights())
    else:
        if kind == "shape":
            arrays["weights/input-hidden1"] = arrays["weights/input-hidden1"][:-1]
        elif kind == "range":
            arrays["weights/bias-output"] = arrays["weights/bias-output"].astype(np.int32) + 40_000
        elif kind == "fractions":
            arrays["weights/bias-output"] = arrays["weights/bias-output"] / 2
        elif kind == "more":
            arrays["extra"] = np.zeros(3, np.int16)
        else:
            del arrays["network"]
        np.savez(path, **arrays)
    return path


KINDS = ("text", "cut off", "bits", "sizes", "shape", "range", "fractions", "more", "none")


def test_foreign_files_are_refused(described, tmp_path):
    paths = []
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        paths.append(str(damaged(kind, tmp_path / kind)))
    code = """
        const messages = [];
        for (const path of given[0]) {
            try {
                await files.readNetwork(new Uint8Array(readFileSync(path)), given[1]);
                messages.push("");
            } catch (error) {
                messages.push(error instanceof npz.FileError ? error.message : `other ${error.stack}`);
            }
        }
        return messages;"""
    messages = dict(zip(KINDS, node(code, paths, described), strict=True))
    assert all(m and not m.startswith("other") for m in messages.values()), messages


def test_sha256():
    """Against Node's own, around the lengths at which a block is added."""
    code = """
        const { createHash } = await import("node:crypto");
        return [0, 1, 55, 56, 63, 64, 65, 1000].every((n) => {
            const bytes = Uint8Array.from({ length: n }, (_, k) => k * 7);
            return sha256.sha256(bytes) === createHash("sha256").update(bytes).digest("hex");
        });"""
    assert node(code)


@pytest.mark.parametrize("side", [8, 28])
def test_drawing_does_not_depend_on_size_and_place(side):
    code = """
        const ring = (x, y, r) => [Array.from({ length: 25 }, (_, k) => [
            x + r * 0.7 * Math.cos((k * Math.PI) / 12), y + r * Math.sin((k * Math.PI) / 12)])];
        return [ring(0.5, 0.5, 0.4), ring(0.3, 0.4, 0.2)].map((s) => [...drawing.render(s, given[0])]);"""
    one, other = (np.array(x) for x in node(code, side))
    assert np.abs(one - other).max() < 64 and 0.08 < one.mean() / 255 < 0.4


def test_modules_join_to_one_script(tmp_path):
    """Names of the scripts are unique, and no import or export is left."""
    for names in (build.WORKER, build.PAGE):
        text = build.script(names)
        assert not re.search(r"^(import|export)\b", text, re.M)
        path = tmp_path / "script.mjs"
        path.write_text(text)
        program("node", "--check", path)


def test_server_has_one_page():
    with serve.PageServer("<p>page</p>", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(server.address) as answer:
            assert answer.read() == b"<p>page</p>"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{server.address}other")
        server.shutdown()
