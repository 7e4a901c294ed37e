"""Accuracy on sequences: Equilibrium Propagation (EP) with attention, and baselines.

    python -m benchmarks.sequences imdb --data DIR [--json FILE]

        --baselines     also mean pooling without attention by EP, and the same network by
                        backpropagation in floating point, with hyperparameters chosen on a fifth of
                        the training samples
        --speakers      also leave-one-speaker-out (spoken)

Default for --seeds: all seeds of the preset.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from equilif.data import sequences
from equilif.data.dataset import DataSet
from equilif.data.sequences import Sequences
from equilif.results import machine, write_json
from equilif.training import tables
from equilif.training.description import Description
from equilif.training.presets import PRESETS
from equilif.training.run import Run

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
#: learning rates of mean pooling; the best on the test set counts, in its favour
POOLED_ETAS = (0.003, 0.01, 0.03)
#: hyperparameters of backpropagation, chosen on a validation split
BP_RATES = (5e-4, 1e-3, 2e-3)
BP_EPOCHS = (2, 4, 8)
BP_HELD = 0.2  #: part of them


def loaded(preset: Description, folder: Path | None, **options: Any) -> Sequences:
    assert preset.memory is not None
    return sequences.load(preset.data, folder, **preset.options, **options)


def fixed_embeddings(preset: Description) -> Description:
    """The network without a trainable table, and without token dropout."""
    content = preset.content()
    del content["population"]["memory"]["table_rows"]
    return Description.of(content, preset.data).changed(token_dropout=0.0)


def mean_pooling(preset: Description) -> Description:
    """The hidden populations without attention, for the mean token of a sample as inputs."""
    learning = {**preset.content()["learning"], "token_dropout": 0.0, "token_crop": 0.0, "input_mask": 0}
    # without the name of the data set, because its samples are tokens
    return Description.of(
        {**tables.chain(*preset.hidden), "phases": preset.content()["phases"], "learning": learning}
    )


def ep(preset: Description, data: DataSet, seed: int) -> float:
    """Test accuracy after the last epoch."""
    run = Run.start(preset, data, seed)
    while not run.done:
        record = run.epoch()
    return record.test_accuracy


def backpropagation(
    preset: Description, data: DataSet, seed: int, learning_rate: float, epochs: int
) -> float:
    """Test accuracy after the last epoch; the learning rate decays to 0."""
    import torch

    from equilif_golden.real.attention import UnrolledAttention

    torch.manual_seed(seed)
    train = data.tokens_train
    test = data.tokens_test
    assert train is not None and test is not None
    network = preset.network(data)
    model = UnrolledAttention(network, preset.initial_weights(network, seed, data), train)
    query = min(
        10.0, next(s.learning_rate_scale for s in network.synapses if (s.pre, s.post) == ("bias", "query"))
    )
    for _ in model.fit(
        train,
        data.y_train,
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        query_learning_rate_scale=query,
        dropout=preset.token_dropout,
    ):
        pass
    return float((model.predict(test) == data.y_test).mean())


def chosen(preset: Description, data: DataSet, seed: int) -> tuple[tuple[float, int], dict[str, float]]:
    """Learning rate and number of epochs with the best validation accuracy, and the accuracies of all."""
    part = data.holding_out(max(1, round(BP_HELD * len(data.y_train))))
    held = {
        (learning_rate, epochs): backpropagation(preset, part, seed, learning_rate, epochs)
        for learning_rate in BP_RATES
        for epochs in BP_EPOCHS
    }
    return max(held, key=lambda way: held[way]), {
        f"{learning_rate:g}, {n} epochs": a for (learning_rate, n), a in held.items()
    }


def show(name: str, accuracies: list[float], note: str = "") -> None:
    spread = f" ({', '.join(f'{100 * a:.2f}' for a in accuracies)})" if len(accuracies) > 1 else ""
    print(f"{name:44} {100 * statistics.mean(accuracies):6.2f} %{spread}  {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=sequences.NAMES)
    parser.add_argument("--data", type=Path, help="folder of the data set")
    parser.add_argument("--seeds", type=int, help="number of seeds (default: all of the preset)")
    parser.add_argument("--baselines", action="store_true", help="also run mean pooling and backpropagation")
    parser.add_argument("--speakers", action="store_true", help="also run leave-one-speaker-out (spoken)")
    parser.add_argument("--json", type=Path, help="file for the result")
    args = parser.parse_args()
    preset = PRESETS[args.set]
    seeds = preset.seeds[: args.seeds]
    tokens = loaded(preset, args.data)
    data = tokens.data_set()
    found: dict[str, Any] = {
        "set": args.set,
        "preset": preset.to_dict(),
        "seeds": seeds,
        "machine": machine(),
    }

    accuracies = [ep(preset, data, s) for s in seeds]
    network = preset.network(data)
    show("EP with a memory, fixed point", accuracies, f"{network.n_weights:,} weights")
    found["ep"] = accuracies
    if args.baselines:
        if preset.learns_table:
            found["tokens_stay"] = [ep(fixed_embeddings(preset), data, s) for s in seeds]
            show("the same, tokens that do not learn", found["tokens_stay"])
        pooled = tokens.mean_pooled()
        plain = mean_pooling(preset)
        by_eta = {
            eta: [ep(plain.changed(learning_rate=eta), pooled, s) for s in seeds] for eta in POOLED_ETAS
        }
        best = max(by_eta, key=lambda eta: statistics.mean(by_eta[eta]))
        show(
            "the same without a memory, mean pooling",
            by_eta[best],
            f"eta {best:g}, the best of {len(by_eta)}",
        )
        (rate, epochs), held = chosen(preset, data, seeds[0])
        last = backpropagation(preset, data, seeds[0], rate, epochs)
        show(
            "the same network by backpropagation",
            [last],
            f"seed {seeds[0]}, Adam {rate:g}, {epochs} epochs: chosen on held-out samples",
        )
        found |= {"mean_pooling": by_eta, "backpropagation": last, "held": held}
    if args.speakers:
        by_speaker = {}
        for speaker in SPEAKERS:
            by_speaker[speaker] = ep(
                preset, loaded(preset, args.data, leave_out=speaker).data_set(), seeds[0]
            )
            show(f"without {speaker}", [by_speaker[speaker]])
        show("mean over the speaker left out", list(by_speaker.values()))
        found["speakers"] = by_speaker
    if args.json:
        write_json(args.json, found)


if __name__ == "__main__":
    main()
