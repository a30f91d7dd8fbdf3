"""Adam (Kingma & Ba, 2015) for a stack of members, each with its own learning rate and all parameters in one row.

With `weight_decay` it is AdamW (Loshchilov & Hutter, 2019): every step also shrinks the parameters by the learning rate
times the decay.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Changes `parameters`, (member, parameter), by `gradients`, which the caller fills before every step."""

    def __init__(
        self, parameters: Tensor, learning_rates: Sequence[float], beta_1: float = BETA_1, weight_decay: float = 0.0
    ) -> None:
        self._beta_1, self._weight_decay = beta_1, weight_decay
        self.gradients = torch.zeros_like(parameters)
        self._steps_done = torch.zeros(())
        table = (parameters, self.gradients, torch.zeros_like(parameters), torch.zeros_like(parameters))
        rows = list(zip(*(tensor.unbind(0) for tensor in table), strict=True))
        self._rows = {  # the lists that one call takes for all members of one learning rate
            rate: [
                list(column)
                for column in zip(
                    *(row for row, own in zip(rows, learning_rates, strict=True) if own == rate), strict=True
                )
            ]
            for rate in dict.fromkeys(learning_rates)
        }

    def step(self) -> None:
        """One step of every member."""
        self._steps_done += 1
        for rate, (parameters, gradients, means, squares) in self._rows.items():
            # The kernel below torch.optim.AdamW(fused=True): one pass over memory. The optimiser itself costs more than
            # the pass for every learning rate.
            torch._fused_adamw_(
                parameters,
                gradients,
                means,
                squares,
                [],
                [self._steps_done] * len(parameters),
                lr=rate,
                beta1=self._beta_1,
                beta2=BETA_2,
                weight_decay=self._weight_decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )
