"""Adam (Kingma & Ba, 2015) for a stack of members, each with its own learning rate and all parameters in one row.

With `weight_decay` it is AdamW (Loshchilov & Hutter, 2019): every step also shrinks the parameters by the learning rate
times the decay.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """An optimiser of `parameters`, (member, parameter); the caller fills `gradients` before every step."""

    def __init__(
        self, parameters: Tensor, learning_rates: Sequence[float], beta_1: float = BETA_1, weight_decay: float = 0.0
    ) -> None:
        self._beta_1, self._weight_decay = beta_1, weight_decay
        self.gradients = torch.zeros_like(parameters)
        self._means, self._squares = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self._steps_done = torch.zeros(())
        table = (parameters, self.gradients, self._means, self._squares)
        rows = list(zip(*(tensor.unbind(0) for tensor in table), strict=True))
        self._rows = {  # one call steps all members of one learning rate and takes these lists
            rate: [
                list(column)
                for column in zip(
                    *(row for row, other in zip(rows, learning_rates, strict=True) if other == rate), strict=True
                )
            ]
            for rate in dict.fromkeys(learning_rates)
        }

    def step(self) -> None:
        """Take one step of every member."""
        self._steps_done += 1
        for rate, (parameters, gradients, means, squares) in self._rows.items():
            # torch.optim.AdamW(fused=True) calls this kernel, one pass over memory. The optimiser object would cost
            # more than the pass for every learning rate.
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

    def state_dict(self) -> dict[str, Any]:
        """Return both moments and the number of steps."""
        return {"means": self._means, "squares": self._squares, "steps_done": self._steps_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an equal optimiser."""
        self._means.copy_(state["means"])
        self._squares.copy_(state["squares"])
        self._steps_done.copy_(state["steps_done"])
