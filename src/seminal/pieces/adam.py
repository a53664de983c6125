"""How far Adam steps where its bias correction is left out.

Kingma and Ba 2015 divide both moving averages, m by 1 − β1ᵗ and v by 1 − β2ᵗ, because both begin at 0. Without it √v is at
first smaller than it should be by a larger factor than m is: steps are too large, 3.2 times at the first, 6.6 times at the
twelfth and still 2.0 times at the 300th.
"""

from __future__ import annotations

import math


def excess(step: int, betas: tuple[float, float] = (0.9, 0.999)) -> float:
    """A step, counted from 1, divided by that of Adam with its correction, where gradients are far larger than ε: the
    smaller √v meets the same ε, which makes the step of small gradients shorter."""
    return (1 - betas[0] ** step) / math.sqrt(1 - betas[1] ** step)
