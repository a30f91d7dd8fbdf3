"""The public names of the package and the module that each comes from."""

from .config import BROConfig as BROConfig
from .config import PQLConfig as PQLConfig
from .config import RunConfig as RunConfig
from .config import SACConfig as SACConfig
from .sweeps.doubts import doubts as doubts
from .sweeps.estimates import Estimate as Estimate
from .sweeps.estimates import estimate as estimate
from .sweeps.plan import Plan as Plan
from .sweeps.plan import SweepSize as SweepSize
from .sweeps.plan import describe as describe
from .sweeps.plan import load_plan as load_plan
from .sweeps.plan import make_plan as make_plan
from .sweeps.progress import Progress as Progress
from .sweeps.sweep import run_sweep as run_sweep
from .training.loop import run_ensemble as run_ensemble
from .training.loop import train as train
