"""Train with a PyTorch-style loop: a torch Dataset, a DataLoader, epochs, and a test accuracy.

    python examples/train_torch_dataset.py

The data are the digits of scikit-learn (8 x 8 pixels).  equilif.Kernel takes the place of model, loss and
optimizer.  It learns from one sample at a time, so a batch of the loader is a list of samples to show, not an
averaged gradient.  Inputs are integers from 0 to 255.
"""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, Subset, random_split

from equilif import Kernel, Network

EPOCHS = 10
LEARNING_RATE = 0.05


class Digits(Dataset):
    """Pairs of an image, (64,) uint8, and its class."""

    def __init__(self) -> None:
        digits = load_digits()
        self.images = torch.tensor(digits.data * 255 / 16).to(torch.uint8)
        self.classes = torch.tensor(digits.target)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.classes[index]


def train(model: Kernel, loader: DataLoader) -> float:
    """One epoch; the accuracy on the samples before the model learned from them."""
    correct = 0
    for images, classes in loader:
        correct += model.train(images.numpy(), classes.numpy()).hits
    return correct / len(loader.dataset)


def evaluate(model: Kernel, loader: DataLoader) -> float:
    """Accuracy on samples that the model does not learn from."""
    correct = sum(int((model.predict(x.numpy()) == y.numpy()).sum()) for x, y in loader)
    return correct / len(loader.dataset)


def loaders(seed: int = 0) -> tuple[DataLoader, DataLoader]:
    """Training and test samples."""
    generator = torch.Generator().manual_seed(seed)
    training: Subset
    test: Subset
    training, test = random_split(Digits(), [0.8, 0.2], generator)
    return (
        DataLoader(training, batch_size=64, shuffle=True, generator=generator),
        DataLoader(test, batch_size=256),
    )


def main(epochs: int = EPOCHS) -> float:
    training, test = loaders()
    model = Kernel(Network.chain(64, 64, 10), learning_rate=LEARNING_RATE)
    for epoch in range(1, epochs + 1):
        running = train(model, training)
        accuracy = evaluate(model, test)
        print(f"epoch {epoch:2}  running {running:.2%}  test {accuracy:.2%}")
    return accuracy


if __name__ == "__main__":
    main()
