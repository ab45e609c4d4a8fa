"""What is trained: a backbone and a head as one module. Imports torch: to be imported only where one is built."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Trainee(nn.Module):
    """A backbone with the head that trains it; answers with the loss, so that it can be distributed as one module."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of (b, 3, 112, 112) images in [-1, 1] and (b,) identities."""
        logits = self.logits(self.backbone(images), labels)
        return F.cross_entropy(logits, labels)

    def logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the head's (b, classes) logits; the head is left out of automatic mixed precision."""
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
            lengths = wide.norm(dim=1, keepdim=True)
            return self.head(wide / lengths, lengths[:, 0], labels)


def initialise(network: nn.Module) -> None:
    """Draw first values as AdaFace does: convolutions and linear layers Kaiming-normal by what flows out of them.

    Biases, batch norms and PReLU slopes (0.25) keep torch's own values.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def optimiser(trainee: nn.Module, rate: float, momentum: float, decay: float) -> torch.optim.SGD:
    """Return SGD with weight decay on everything but batch norms: PReLU slopes, biases and class centres decay too."""
    spared = {id(p) for layer in trainee.modules() if isinstance(layer, BATCH_NORMS) for p in layer.parameters()}
    groups = [
        {"params": list(_of(trainee, spared, wanted=False)), "weight_decay": decay},
        {"params": list(_of(trainee, spared, wanted=True)), "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=rate, momentum=momentum)


def _of(trainee: nn.Module, chosen: set[int], wanted: bool) -> Iterator[nn.Parameter]:
    return (p for p in trainee.parameters() if (id(p) in chosen) == wanted)
