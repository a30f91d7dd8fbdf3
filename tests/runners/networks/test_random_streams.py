"""Random numbers drawn for all members at once, as on a GPU; the CPU of these tests draws the same numbers."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from bayescale.errors import BayeScaleError
from bayescale.runners.networks.random_streams import (
    BLOCK,
    BlockStreams,
    advance,
    normal,
    normal_,
    normal_numbers,
    random_words,
)

CPU = torch.device("cpu")
SEEDS = [5, 6, 2**32 - 1]
LEAST_P = 1e-4  # false-alarm rate of each test; the draws are fixed


def draws(seeds: list[int], updates: int, shape: tuple[int, ...], normal: bool) -> torch.Tensor:
    """Return the draws of several updates, (update, member, *shape)."""
    streams, drawn = BlockStreams(seeds, CPU), []
    for _ in range(updates):
        streams.advance()
        drawn.append(streams.draw(shape, normal))
    return torch.stack(drawn)


def mixed(word: int) -> int:
    """Apply the mixing function of SplitMix64 in Python integers."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        word = (word ^ (word >> shift)) * factor % 2**64
    return word ^ (word >> 31)


@pytest.mark.parametrize("first", [0, 3 << 32, 2**61 + 12345])
def test_words_are_those_of_the_mixing_function(first: int) -> None:
    words = random_words(torch.tensor([[5], [2**32 - 1]]), first, 50)
    for key, row in zip((5, 2**32 - 1), words.tolist(), strict=True):
        expected = [mixed((mixed((first + i) * 0x9E3779B97F4A7C15 % 2**64) + key) % 2**64) for i in range(50)]
        assert [word % 2**64 for word in row] == expected


def test_numbers_depend_on_the_member_and_the_update_alone() -> None:
    together = draws(SEEDS, 2 * BLOCK + 3, (2, 5), normal=True)
    assert torch.equal(draws([6], 2 * BLOCK + 3, (2, 5), normal=True)[:, 0], together[:, 1])
    assert len(together.flatten().unique()) == together.numel(), "no number comes twice"


def test_calls_of_an_update_get_numbers_of_their_own_from_the_whole_range() -> None:
    streams, drawn = BlockStreams(SEEDS, CPU), []
    for _ in range(2 * BLOCK + 3):
        streams.advance()
        drawn += [streams.draw((4,), normal=False) for _ in range(3)]
    numbers = torch.stack(drawn)
    assert len(numbers.flatten().unique()) == numbers.numel(), "no number comes twice"
    assert 0 <= numbers.min() < 2**60
    assert numbers.max() > 2**63 - 2**60


@pytest.mark.parametrize("normal", [True, False])
def test_streams_go_on_where_a_checkpoint_was_written(normal: bool) -> None:
    whole = draws(SEEDS, BLOCK + 10, (4,), normal)
    for done in (0, 7, BLOCK - 1, BLOCK, BLOCK + 5):
        written, streams = BlockStreams(SEEDS, CPU), BlockStreams(SEEDS, CPU)
        for _ in range(done):
            written.advance()
            written.draw((4,), normal)
        streams.load_state_dict(written.state_dict())
        streams.advance()
        assert torch.equal(streams.draw((4,), normal), whole[done])


@pytest.mark.parametrize("words", [20, 200])  # the words of one update, of six updates
def test_a_large_block_is_drawn_in_parts_that_do_not_show(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draws(SEEDS, 2 * BLOCK, (3, 7), normal=True)
    monkeypatch.setattr("bayescale.runners.networks.random_streams._AT_ONCE", words)
    assert torch.equal(draws(SEEDS, 2 * BLOCK, (3, 7), normal=True), whole)


def test_learners_draw_from_them_as_from_generators() -> None:
    streams, same = BlockStreams(SEEDS, CPU), BlockStreams(SEEDS, CPU)
    for _ in range(3):
        advance([torch.Generator()], streams)
        same.advance()
        out = torch.empty(3, 2, 5)
        assert normal_(out, streams) is out
        assert torch.equal(out, same.draw((2, 5), normal=True))
        assert torch.equal(normal((4,), streams, CPU), same.draw((4,), normal=True))


def test_every_word_makes_finite_normal_numbers() -> None:
    assert normal_numbers(torch.tensor([0, -1, 0xFFFFFFFF, -(2**32)])).isfinite().all()


def test_normal_numbers_are_normal_and_independent() -> None:
    numbers = draws(SEEDS, 100, (2, 501), normal=True).double().numpy()  # an odd count leaves half a pair over
    for member in range(len(SEEDS)):
        assert stats.kstest(numbers[:, member].ravel(), "norm").pvalue > LEAST_P
        assert stats.kstest((numbers[:, member] ** 2).ravel(), stats.chi2(1).cdf).pvalue > LEAST_P
    flat = numbers.transpose(1, 0, 2, 3).reshape(len(SEEDS), -1)
    pairs = [(flat[i], flat[j]) for i, j in itertools.combinations(range(len(SEEDS)), 2)]
    pairs += [(flat[0][:-lag], flat[0][lag:]) for lag in (1, 250, 251, 501, 1002)]
    pairs += [(numbers[:, 0, :, :250] ** 2, numbers[:, 0, :, 251:501] ** 2)]  # both numbers of one word
    assert min(stats.pearsonr(np.ravel(a), np.ravel(b)).pvalue for a, b in pairs) > LEAST_P


def test_the_check_of_normal_numbers_can_fail() -> None:
    numbers = draws(SEEDS, 100, (2, 501), normal=True).double().numpy()
    assert stats.kstest(1.02 * numbers.ravel(), "norm").pvalue < LEAST_P
    assert stats.pearsonr(numbers.ravel(), (numbers + 0.02 * np.roll(numbers, 1)).ravel()).pvalue < LEAST_P


@pytest.mark.parametrize("size", [7, 1_000])
def test_whole_numbers_are_uniform(size: int) -> None:
    chosen = draws(SEEDS, 64, (2_000,), normal=False).remainder(size)
    assert chosen.min() == 0
    counts = np.bincount(chosen.flatten().numpy(), minlength=size)
    assert len(counts) == size
    assert stats.chisquare(counts).pvalue > LEAST_P
    counts[0] += 20 * round(counts.mean() ** 0.5)
    assert stats.chisquare(counts).pvalue < LEAST_P


def test_as_a_sequence_they_are_generators() -> None:
    streams = BlockStreams(SEEDS, CPU)
    assert [stream.initial_seed() for stream in streams] == SEEDS


def test_an_update_that_draws_too_often_is_refused() -> None:
    streams = BlockStreams(SEEDS, CPU)
    streams.advance()
    for _ in range(16):
        streams.draw((2,), normal=True)
    with pytest.raises(BayeScaleError, match="draws more than 16 times"):
        streams.draw((2,), normal=True)
