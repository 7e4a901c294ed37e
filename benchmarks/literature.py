"""Figures of the literature on Equilibrium Propagation, and the networks of equilif beside them."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """A publication; docs/explanation/how_networks_learn.md has its reference."""

    work: str
    network: str
    result: str


class LiteratureRow(NamedTuple):
    """Test accuracy of ``published`` beside that of a network in benchmarks.claims.NETWORKS."""

    data: str
    published: str
    network: str


EQSPIKE = "97.6 % (EqSpike)"
WORKS = (
    Work("Scellier & Bengio 2017", "Hopfield energy, rates, nudge in one direction", "the theorem"),
    Work(
        "Laborieux et al. 2021",
        "convolutions, rates, symmetric nudge",
        "11.7 % test error on CIFAR-10, near BPTT; 86 % with a nudge in one direction",
    ),
    Work("Martin et al. 2021 (EqSpike)", "spiking", "97.6 % on MNIST"),
    Work(
        "Lin, Bal & Sengupta, ICONS 2024",
        "spiking convolutions, Hopfield energy",
        "99.03 % on MNIST, 91.11 % on Fashion-MNIST",
    ),
    Work(
        "Whittington & Bogacz 2017",
        "predictive coding, local plasticity",
        "its weight change converges to that of backpropagation",
    ),
    Work(
        "Kerjan, Høier & Scellier 2026",
        "predictive coding, VGG10, centred nudge",
        "13.23 % top-5 error on ImageNet; backpropagation 12.2 %",
    ),
)
COMPARED = (
    LiteratureRow("MNIST, one hidden layer", EQSPIKE, "mnist-128"),
    LiteratureRow("MNIST, two hidden layers", EQSPIKE, "mnist-2-phases"),
    LiteratureRow("MNIST, two convolutions", "99.03 % (ICONS 2024)", "mnist-maps"),
    LiteratureRow("Fashion-MNIST, one convolution", "", "fashion-maps"),
    LiteratureRow("Fashion-MNIST, two convolutions", "91.11 % (ICONS 2024)", "fashion-maps-2"),
)

#: of continual learning of MNIST
CONTINUAL = (
    "Genesis, a chip of 65 nm: 74.6 % on split MNIST, class-incremental, without task labels",
    "latent replay (TU Delft): 89.0 % on MNIST with 62.8 kB",
)
