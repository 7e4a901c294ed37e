"""Page of ``equilif lab``: one HTML file with the engine, its networks, the digits and the results of the
golden model.

The scripts of ``page/`` are ES modules with named exports.  Here they become one script of the page and one
of its worker: from a folder browsers load neither modules nor workers.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from equilif import results
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.training.backends import phases
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import digest
from equilif.training.storage.pretrained import Card, model_path
from equilif_golden import network as networks
from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine import listing
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.isa import Instruction, Op, assemble
from equilif_golden.engine.memories import memories, word_bits
from equilif_golden.engine.port import Region
from equilif_golden.extras import needs

with needs("hdl,boards,sim"):
    from amaranth._toolchain import ToolNotFound
    from amaranth.back.verilog import YosysError

    from equilif_boards import BOARDS, Board
    from equilif_sim import web
    from equilif_sim.library import BuildFailed
    from equilif_sim.verilated import MEMORIES

FOLDER = Path(__file__).with_name("page")
BOARD = "icebreaker"  #: whose engine it is
MODELS = ("digits-64", "mnist-64")  #: pretrained networks, the first one of the digits
SHARED = ("sha256.js", "network.js")
WORKER = (*SHARED, "engine.js", "chip.js", "worker.js")
PAGE = (
    *SHARED,
    "npz.js",
    "client.js",
    "drawing.js",
    "pad.js",
    "charts.js",
    "files.js",
    "inside.js",
    "app.js",
)
#: of a module, one line each
IMPORT = re.compile(r"^import .*;\n", re.M)
EXPORT = re.compile(r"^export (?=(?:async )?function|const|let|class)", re.M)


def page() -> str:
    """The page; ToolFailed when Verilator or Emscripten is missing or fails."""
    config = BOARDS[BOARD].config
    try:
        engine = web.engine(config)
    except (BuildFailed, YosysError, ToolNotFound) as e:
        raise results.ToolFailed(f"the engine cannot be compiled for the page: {e}") from e
    data = images.digits()
    content: dict[str, Any] = {"engine": np.frombuffer(engine, np.uint8), **_digits(data)}
    described = []
    for name in MODELS:
        about, weights = _network(name)
        described.append(about)
        content |= {f"{name}/{key}": value for key, value in weights.items()}
    facts = {
        "version": results.version(),
        "engine": _engine(),
        "boards": [{"title": b.title, "hz": b.clock_hz, "lanes": b.config.lanes} for b in _boards()],
        "networks": described,
        "golden": golden(data),
    }
    return _assembled(facts, _packed(content))


# -- content ---------------------------------------------------------------------------------------
def _engine() -> dict[str, Any]:
    """Sizes and constants of the engine for the scripts."""
    board = BOARDS[BOARD]
    config = board.config
    sizes = memories(config)
    return {
        "board": board.title,
        "hz": board.clock_hz,
        "lanes": config.lanes,
        "regions": {r.name.lower(): int(r) for r in Region},
        "dither": {"update": DITHER_UPDATE, "mask": DITHER_MASK},
        "memories": {
            name: {
                "index": index,
                "width": sizes[name].width,
                "stored": word_bits(config, name) // config.lanes,
                "bytes": _word_bytes(word_bits(config, name)),
                "signed": sizes[name].signed,
            }
            for index, name in enumerate(MEMORIES)
        },
    }


def _word_bytes(bits: int) -> int:
    """Bytes of a memory word in Verilator."""
    return next((n for n in (1, 2, 4, 8) if bits <= 8 * n), 4 * -(-bits // 32))


def _boards() -> Iterator[Board]:
    """Boards of different clocks, the page's own first."""
    own = BOARDS[BOARD]
    yield own
    yield from (b for b in BOARDS.values() if b is not own)


def _digits(data: DataSet) -> dict[str, Any]:
    """The samples, and their order in each epoch of ``equilif train digits``."""
    preset = PRESETS["digits"]
    orders = [phases.order(preset.seeds[0], epoch, len(data.y_train)) for epoch in range(preset.epochs)]
    return {
        "x_train": data.x_train,
        "y_train": data.y_train.astype(np.uint8),
        "x_test": data.x_test,
        "y_test": data.y_test.astype(np.uint8),
        "orders": np.array(orders, np.uint16),
    }


def golden(data: DataSet) -> list[dict[str, Any]]:
    """Epochs of ``equilif train digits`` on the golden model: digest of the weights, accuracies."""
    preset = PRESETS["digits"]
    run = phases.EquilibriumPropagation.start(preset, data, preset.seeds[0])
    kernel = run.learner
    found = []
    for epoch in range(preset.epochs):
        plan = phases.epoch_plan(preset, data, preset.seeds[0], epoch)
        (part,) = phases.train_epoch(kernel, data, plan)
        found.append(
            {
                "digest": digest(kernel.weights),
                "hits": part.hits,
                "spikes": part.spikes,
                "test": round(kernel.accuracy(data.x_test, data.y_test, tokens=None) * len(data.y_test)),
            }
        )
    return found


def _network(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pretrained network: its place on the engine, programs, and weights before and after training.

    There is a program for the learning rate of each epoch; those of other data only have the first one.
    """
    saved = networks.read(model_path(name))
    network, weights = saved.network, saved.weights
    card = Card.all()[name]
    preset = PRESETS[card.data]
    compiled = Compiled(network, BOARDS[BOARD].config)
    start = preset.initial_weights(network, card.seed)
    rates = [preset.rate(epoch) for epoch in range(preset.epochs if name == MODELS[0] else 1)]
    programs = [compiled.program(rate) for rate in rates]
    first, constants = compiled.constants()
    lanes = compiled.config.lanes
    places = {
        key: {"first": place.first * lanes, "n": place.n * lanes} for key, place in compiled.groups.items()
    }
    about = {
        "name": name,
        "sizes": card.network,
        "data": card.data,
        "accuracy": card.accuracy,
        "digest": card.digest,
        "side": round(network.n_inputs**0.5),
        "description": network.to_dict(),
        "about": saved.about,
        "input": {**places[network.inputs[0].name], "size": network.n_inputs},
        "target": {**places[compiled.target], "size": network.n_outputs},
        "populations": [
            {"name": q.name, "size": q.size, "first": places[q.name]["first"]} for q in network.lif
        ],
        "constants": {"first": first, "values": constants.tolist()},
        "synapses": [
            {"name": s.name, "shape": network.shape(s), "tile": compiled.tile(s)} for s in network.plastic
        ],
        "updates": sum(i.op == Op.LEARN for i in programs[0]),
        "threshold": compiled.raw.threshold,
        "programs": [
            {"rate": rate, "words": assemble(p).tolist()} for rate, p in zip(rates, programs, strict=True)
        ],
        "listing": list(_listing(programs[0], compiled)),
    }
    parts = {"start": start, "trained": weights}
    arrays = {
        f"{part}/{s.name}": values[s.name].astype(np.int16)
        for part, values in parts.items()
        for s in network.plastic
    }
    return about, arrays


def _listing(program: list[Instruction], compiled: Compiled) -> Iterator[dict[str, Any]]:
    """Instructions as the page shows them, with the phase that each belongs to."""
    phase = "free"
    begins = {Op.SAVE: "plus", Op.RESTORE: "minus", Op.LEARN: "update"}
    for i, depth in zip(program, listing.depths(program), strict=True):
        phase = begins.get(i.op, phase)
        yield {
            "op": i.op.name,
            "where": listing.where(i, compiled),
            "details": listing.details(i, compiled),
            "depth": depth,
            "phase": phase,
        }


# -- file ------------------------------------------------------------------------------------------
def _packed(content: Mapping[str, Any]) -> str:
    """Arrays as an .npz in base64."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **content)
    return base64.b64encode(packed.getvalue()).decode()


def script(names: Iterable[str]) -> str:
    """Modules of ``page/`` as one script."""
    return "\n".join(EXPORT.sub("", IMPORT.sub("", (FOLDER / name).read_text())) for name in names)


def _assembled(facts: Mapping[str, Any], content: str) -> str:
    """``index.html`` with all parts in their places."""
    parts = {
        "style": (FOLDER / "style.css").read_text(),
        "facts": json.dumps(facts, separators=(",", ":")),
        "content": content,
        "worker": script(WORKER),
        "script": script(PAGE),
    }
    text = (FOLDER / "index.html").read_text()
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part.replace("</script", "<\\/script"))
    return text
