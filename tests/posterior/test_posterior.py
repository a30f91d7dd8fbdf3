"""Test the `Posterior` class: convergence, compiled predictions, priors and saving."""

import dataclasses
import re

import numpy as np
import pytest

import bayescale as bs
from bayescale.errors import InputError, NotConverged
from bayescale.inference.convergence import Status
from bayescale.models import JointModel, Prior
from tests.scaffolding.prior_posterior import TASKS, prior_posterior, sweep


@pytest.fixture(scope="module")
def posterior():
    return prior_posterior()


@pytest.fixture(scope="module")
def apart(posterior):
    """Return a posterior whose chains disagree on one parameter and hardly move in another."""
    draws = dict(posterior.draws)
    draws["configuration_effect"] = draws["configuration_effect"] + 10 * draws["configuration_effect"].std() * np.array(
        [[0.0], [1.0]]
    )
    draws["failure"] = np.cumsum(draws["failure"], axis=1)
    return dataclasses.replace(posterior, draws=draws, status=Status.NOT_MIXED)


def test_a_converged_posterior_is_returned_itself(posterior):
    assert posterior.status is Status.CONVERGED
    assert posterior.require_convergence() is posterior


@pytest.mark.parametrize("status", [status for status in Status if not status.usable])
def test_any_other_status_raises_and_names_the_worst_parameters_in_words_the_cause_and_a_remedy(apart, status):
    with pytest.raises(NotConverged) as caught:
        dataclasses.replace(apart, status=status).require_convergence()
    message, table = str(caught.value), apart.diagnostics()
    chains, draws = apart.draws["failure"].shape[:2]
    assert message.startswith(f"{status.value.partition(';')[0]}, after {draws:,} draws of each of {chains} chains. ")
    assert "Likely cause: " in message
    assert "Remedy: " in message
    named = re.findall(r"\(R-hat (\d+\.\d{3}), ([\d,]+) effective draws\)", message)
    assert len(named) == 3
    for parameter, (r_hat, effective) in zip(caught.value.parameters, named, strict=False):
        row = table.loc[parameter]
        assert (r_hat, effective) == (f"{row.r_hat:.3f}", f"{row.ess_bulk:,.0f}")
    assert [float(r_hat) for r_hat, _ in named] == sorted((float(r_hat) for r_hat, _ in named), reverse=True)
    assert "spread of configurations around the response surface (R-hat " in message
    assert {"failure[2]", "configuration_effect"} <= set(caught.value.parameters)
    assert caught.value.posterior.draws is apart.draws
    assert caught.value.exit_code == 3


def test_divergences_alone_name_no_parameter(posterior, monkeypatch):
    """Divergences of chains that agree belong to no parameter."""
    diverged = dataclasses.replace(posterior, status=Status.DIVERGED)
    monkeypatch.setattr("bayescale.posterior.posterior.unconverged", lambda *_: ())
    with pytest.raises(NotConverged, match=r"chains\. Likely cause: ") as caught:
        diverged.require_convergence()
    assert caught.value.parameters == ()


def test_equal_models_are_compiled_once(posterior, monkeypatch):
    """JAX calls the Python code of the model only to compile it, once for equal models and once for a changed value."""
    compiled = []
    original = JointModel.run_lengths
    monkeypatch.setattr(JointModel, "run_lengths", lambda *given: compiled.append(given[0]) or original(*given))

    def with_reference_utd(utd):
        references = tuple((float(np.log(utd)), *others) for _, *others in posterior.model.references)
        return dataclasses.replace(posterior, model=dataclasses.replace(posterior.model, references=references))

    configs = posterior.crossings[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates().head(3)
    other = with_reference_utd(1.75)
    first = other.predict(configs)
    assert len(compiled) == 1
    again = dataclasses.replace(other, model=dataclasses.replace(other.model)).predict(configs[::-1])
    assert len(compiled) == 1
    keys = ["utd", "batch_size", "learning_rate", "threshold"]
    assert first.sort_values(keys).reset_index(drop=True).equals(again.sort_values(keys).reset_index(drop=True))
    with_reference_utd(1.25).predict(configs)
    assert len(compiled) == 2
    assert set(first["env_id"]) == set(TASKS[:1])


def test_a_prior_of_an_unknown_family_is_refused() -> None:
    assert Prior("fixed", 2.0, 0.0).distribution().mean == 2.0
    with pytest.raises(InputError, match="must be normal, student_t, lognormal or fixed; got 'halfnormal'"):
        Prior("halfnormal", 0.0, 1.0).distribution()


@pytest.mark.parametrize(
    ("name", "prior", "said"),
    [
        ("beta", Prior("normal", 0.0, 1.0), "priors has no 'beta'"),
        (
            "log_sharpness",
            Prior("normal", 0.0, -1.0),
            "the prior of log_sharpness must have finite numbers and a scale >= 0",
        ),
        ("log_sharpness", Prior("normal", 0.0, 0.0), "the prior of log_sharpness has scale 0"),
        ("log_noise.spread", Prior("normal", 1.0, 0.3), "the prior of log_noise.spread is fixed; got"),
        ("log_sharpness", Prior("fixed", -0.3, 0.0), "fit samples log_sharpness, so its prior cannot be fixed"),
    ],
)
def test_priors_that_a_fit_cannot_use_are_refused(name, prior, said):
    with pytest.raises(InputError, match=re.escape(said)):
        bs.fit(sweep(), priors={name: prior})


def test_a_posterior_that_cannot_be_written_is_refused_in_one_sentence(posterior, tmp_path):
    with pytest.raises(InputError, match=r"fit\.nc cannot be written \(.*\)\. Free some space or"):
        posterior.save(tmp_path / "nowhere" / "fit.nc")
