"""Accuracy on sequences: Equilibrium Propagation (EP) with attention, and baselines.

--baselines adds mean pooling without attention by EP, and the same network by backpropagation in floating
point, with hyperparameters chosen on a fifth of the training samples.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated, Any

from benchmarks.registry import Data, choose
from benchmarks.training import accuracy, show
from equilif.data.sets import sequences
from equilif.data.sets.dataset import DataSet
from equilif.data.sets.sequences import Sequences
from equilif.training.settings import tables
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS

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


def best_settings(
    preset: Description, data: DataSet, seed: int
) -> tuple[tuple[float, int], dict[str, float]]:
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


def main(
    set_: Annotated[str, "name of the data set"],
    *,
    data: Data | None = None,
    seeds: Annotated[int | None, "number of seeds (default: all of the preset)"] = None,
    baselines: Annotated[bool, "also run mean pooling and backpropagation"] = False,
    speakers: Annotated[bool, "also run leave-one-speaker-out (spoken)"] = False,
) -> dict[str, Any]:
    (name,) = choose([set_], sequences.NAMES, "data set")
    preset = PRESETS[name]
    chosen = preset.seeds[:seeds]
    tokens = loaded(preset, data)
    d = tokens.data_set()
    accuracies = [accuracy(preset, d, s) for s in chosen]
    show("EP with a memory, fixed point", accuracies, f"{preset.network(d).n_weights:,} weights")
    found: dict[str, Any] = {"set": name, "preset": preset.to_dict(), "seeds": chosen, "ep": accuracies}
    if baselines:
        if preset.learns_table:
            found["tokens_stay"] = [accuracy(fixed_embeddings(preset), d, s) for s in chosen]
            show("the same, tokens that do not learn", found["tokens_stay"])
        pooled = tokens.mean_pooled()
        plain = mean_pooling(preset)
        by_eta = {
            eta: [accuracy(plain.changed(learning_rate=eta), pooled, s) for s in chosen]
            for eta in POOLED_ETAS
        }
        best = max(by_eta, key=lambda eta: statistics.mean(by_eta[eta]))
        note = f"eta {best:g}, the best of {len(by_eta)}"
        show("the same without a memory, mean pooling", by_eta[best], note)
        (rate, epochs), held = best_settings(preset, d, chosen[0])
        last = backpropagation(preset, d, chosen[0], rate, epochs)
        note = f"seed {chosen[0]}, Adam {rate:g}, {epochs} epochs: chosen on held-out samples"
        show("the same network by backpropagation", [last], note)
        found |= {"mean_pooling": by_eta, "backpropagation": last, "held": held}
    if speakers:
        by_speaker = {}
        for speaker in SPEAKERS:
            others = loaded(preset, data, leave_out=speaker).data_set()
            by_speaker[speaker] = accuracy(preset, others, chosen[0])
            show(f"without {speaker}", [by_speaker[speaker]])
        show("mean over the speaker left out", list(by_speaker.values()))
        found["speakers"] = by_speaker
    return found
