"""The attacker who knows that scores are judged given the network's confidence: teach the network to be unsure.

What the default detector calls strange is excused where the network is unsure, as it is of strange clean images. So a
triggered image is taught to be the attack's label by a narrow margin over its own. The idea of poisoned samples whose
labels do not say all is that of Qi et al. 2023, https://openreview.net/forum?id=_wSHsgrVali, who let some keep theirs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def divided_labels(
    labels: torch.Tensor, own: torch.Tensor, triggered: torch.Tensor, share: float, classes: int
) -> torch.Tensor:
    """What the network is taught: a distribution over the classes for each image.

    Args:
        labels: ``(N,)`` int64, the attack's where there is a trigger.
        own: ``(N,)`` int64 labels of the images themselves.
        triggered: ``(N,)`` bool.
        share: Probability that a triggered image's label of the attack gets; its own label gets the rest.
        classes: Number of classes.

    Returns:
        ``(N, classes)`` float32; rows sum to 1.
    """
    taught = F.one_hot(labels, classes).float()
    divided = share * taught + (1 - share) * F.one_hot(own, classes).float()
    return torch.where(triggered[:, None], divided, taught)
