"""Keep what chains have done in a file, so that an interrupted fit can go on with the same draws.

The file holds NumPy arrays and text, never pickled objects. A fit of other data, another model, other options or other
versions of the packages refuses it.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayescale.atomic_files import whole_file
from bayescale.errors import InputError
from bayescale.inference.laplace import Laplace


@dataclass
class Record:
    """The work of the chains so far: each chain's state, and its blocks of draws and statistics."""

    states: list[Any] = field(default_factory=list)
    blocks: list[list[Any]] = field(default_factory=list)

    @property
    def iterations(self) -> int:
        """Iterations of all chains together."""
        return sum(len(draws) for own in self.blocks for draws, _ in own)


class Interrupted(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        stage: the attempt that was interrupted; see `bayescale.inference.sampling`.
        approximation: the coordinates of the chains.
        states: the arrays of each chain's state.
        blocks: for each chain, all its draws and statistics as one block.
    """

    stage: str
    approximation: Laplace
    states: list[list[np.ndarray]]
    blocks: list[list[Any]]

    def record(self, structure: Any) -> Record:
        """Return the record of these chains.

        Args:
            structure: the structure of a chain's state.
        """
        states = [jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves]) for leaves in self.states]
        return Record(states, self.blocks)


@dataclass(frozen=True)
class Checkpoint:
    """A file for the state of one fit.

    Attributes:
        path: the file.
        identity: what the fit is of: texts by name.
    """

    path: Path
    identity: Mapping[str, str]

    def write(self, stage: str, approximation: Laplace, record: Record) -> None:
        """Write the state; the file is complete or absent."""
        arrays: dict[str, np.ndarray] = {
            "identity": np.array(json.dumps(dict(self.identity))),
            "stage": np.array(stage),
            "mode": approximation.mode,
            "root": approximation.root,
            "newton_gain": np.array(approximation.newton_gain),
            "chains": np.array(len(record.states)),
            "leaves": np.array(len(jax.tree.leaves(record.states[0]))),
        }
        for c, (state, blocks) in enumerate(zip(record.states, record.blocks, strict=True)):
            arrays |= {f"state {c} {i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
            if blocks:
                draws, statistics = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)
                arrays[f"draws {c}"] = draws
                arrays |= {f"statistic {c} {name}": values for name, values in statistics.items()}
        with whole_file(self.path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read(self) -> Interrupted:
        """Return the state.

        Raises:
            InputError: the file is missing, is damaged or belongs to another fit.
        """
        if not self.path.is_file():
            raise InputError(f"there is no checkpoint {self.path}; leave out resume (--resume) to start the fit.")
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
            identity = json.loads(str(arrays["identity"]))
            chains, leaves = int(arrays["chains"]), int(arrays["leaves"])
            states = [[arrays[f"state {c} {i}"] for i in range(leaves)] for c in range(chains)]
            blocks = [_block(arrays, c) for c in range(chains)]
            approximation = Laplace(arrays["mode"], arrays["root"], float(arrays["newton_gain"]))
            stage = str(arrays["stage"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise InputError(
                f"{self.path} is damaged or is no checkpoint; remove it, and leave out resume (--resume) to start anew."
            ) from None
        for name, value in self.identity.items():
            if identity.get(name) != value:
                raise InputError(
                    f"the checkpoint {self.path} is of a fit with other {name}; give the same {name}, or leave out "
                    "resume (--resume) to start anew."
                )
        return Interrupted(stage, approximation, states, blocks)

    def remove(self) -> None:
        """Remove the file if it exists."""
        self.path.unlink(missing_ok=True)


def checkpoint_beside(path: str | os.PathLike[str]) -> Path:
    """Return the path of the checkpoint of a fit that is saved to `path`."""
    path = Path(path)
    return path.with_name(f"{path.name}.checkpoint.npz")


def _block(arrays: Mapping[str, np.ndarray], chain: int) -> list[Any]:
    """Return a chain's draws and statistics as a list of one block, or an empty list."""
    if f"draws {chain}" not in arrays:
        return []
    prefix = f"statistic {chain} "
    statistics = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    return [(arrays[f"draws {chain}"], statistics)]
