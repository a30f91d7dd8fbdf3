"""A model with every member of the Protocol `Model`, for tests that need only a few of them."""

from types import MappingProxyType

from bayescale.inference.model import Model


class BareModel(Model):
    """A model without tasks, thresholds and priors; subclasses override the methods that their test calls."""

    name = "bare"
    env_ids = ()
    thresholds = ()
    varying = ()
    priors = MappingProxyType({})

    def with_ceilings(self, draws, _):
        """Return the draws: every threshold can be reached."""
        return dict(draws)
