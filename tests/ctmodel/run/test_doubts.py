"""What a training says against its own scores, and that a good one says nothing."""

import dataclasses

import numpy as np
import pytest
from tiny_cohort import TINY

from ctmodel.prediction.evaluate import evaluate
from ctmodel.run.doubts import COMPARED, differ_beyond_chance, doubts_about
from ctmodel.run.history import Epoch
from ctmodel.run.run_folder import Run
from ctmodel.scoring.scores import Predictions, Score, Threshold, score
from ctmodel.training.train import train


def history(*losses):
    return [Epoch(number, 1e-3, 0.5, 0.8, 0.8, loss, 0.8, 0.8) for number, loss in enumerate(losses, start=1)]


def scores_of(n, *, separation, seed=0, sure=1.0):
    """Return the scores of n scans in each of two classes whose logits lie so far apart."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n)
    logits = sure * separation * (rng.normal(0, 1, 2 * n) + separation * (labels - 0.5))
    chance = 1 / (1 + np.exp(-logits))
    names = tuple(f"s{number}" for number in range(2 * n))
    predictions = Predictions(names, names, labels, np.stack([1 - chance, chance], axis=1))
    return score(predictions, classes=("no", "yes"), subset="test", threshold=Threshold(0.5, "half"))


def test_a_good_run_is_not_doubted():
    good = scores_of(100, separation=2)
    assert doubts_about(history(0.6, 0.4, 0.5), epochs=3, validation=good, test=good) == []


def test_a_run_that_was_cut_off_while_it_improved_says_so():
    good = scores_of(100, separation=2)
    (doubt,) = doubts_about(history(0.6, 0.5, 0.4), epochs=3, validation=good, test=good)
    assert doubt.startswith("The best epoch was the last one allowed, 3")
    assert doubts_about(history(0.6, 0.5, 0.4), epochs=9, validation=good, test=good) == []


def test_validation_and_test_that_disagree_are_named_with_both_values():
    validation, test = scores_of(100, separation=3), scores_of(100, separation=0.5, seed=1)
    auroc, loss = doubts_about(history(0.4, 0.5), epochs=9, validation=validation, test=test)
    values = validation.scores["auroc"].value, test.scores["auroc"].value
    assert auroc.startswith("The AUROC is {:.2f} on the validation subset and {:.2f} here".format(*values))
    assert loss.startswith("The log loss is")


@pytest.mark.parametrize("name", ["auroc", "log_loss"])
def test_chance_alone_is_seldom_taken_for_a_difference(name):
    """Two parts of the same kind differ in 5 % of the cases or fewer; parts unlike each other in most."""
    alike = [
        differ_beyond_chance(*(scores_of(30, separation=1.5, seed=2 * pair + one).scores[name] for one in (0, 1)))
        for pair in range(200)
    ]
    unlike = [
        differ_beyond_chance(
            scores_of(60, separation=3, seed=pair).scores[name],
            scores_of(60, separation=0.5, seed=pair + 500).scores[name],
        )
        for pair in range(20)
    ]
    assert np.mean(alike) <= 0.05
    assert np.mean(unlike) >= 0.9


def test_the_order_of_two_scores_does_not_matter():
    one, other = Score(0.9, 0.8, 0.95, n=50, patients=50), Score(0.6, 0.45, 0.75, n=50, patients=50)
    assert differ_beyond_chance(one, other) == differ_beyond_chance(other, one) is True
    assert "auroc" in COMPARED


def test_what_is_said_after_training_is_said_again_by_evaluate(store_path, tmp_path):
    result = train(store_path, tmp_path / "run", dataclasses.replace(TINY, epochs=1))
    assert result.scores.notes[0].startswith("The best epoch was the last one allowed, 1")
    assert Run(result.run).scores() == evaluate(result.run).scores == result.scores
