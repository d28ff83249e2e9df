"""The best epoch has the lowest validation loss, and patience ends a training."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from ctmodel.run.history import Epoch, EpochReport, Pace, best_epoch, is_over

losses = st.lists(st.floats(0, 5), min_size=1, max_size=30)


def history_of(val_losses):
    return [Epoch(place + 1, 0.001, 0.7, 0.5, 0.5, loss, 0.5, 0.5) for place, loss in enumerate(val_losses)]


@given(losses)
def test_the_best_epoch_is_the_first_with_the_lowest_validation_loss(val_losses):
    best = best_epoch(history_of(val_losses))
    assert best.epoch == val_losses.index(min(val_losses)) + 1


@given(losses, st.integers(1, 10))
def test_a_training_ends_after_patience_epochs_without_a_better_one(val_losses, patience):
    waited = len(val_losses) - 1 - val_losses.index(min(val_losses))
    assert is_over(history_of(val_losses), epochs=1000, patience=patience) == (waited >= patience)


@given(losses)
def test_a_training_ends_at_its_last_epoch(val_losses):
    assert is_over(history_of(val_losses), epochs=len(val_losses), patience=1000)
    assert not is_over(history_of(val_losses), epochs=len(val_losses) + 1, patience=1000)


def test_a_training_that_has_not_begun_is_not_over():
    assert not is_over([], epochs=1, patience=1)


def test_a_report_is_one_line_that_marks_the_best():
    (epoch,) = history_of([0.25])
    report = EpochReport(epoch, 20, 1.5, Pace(volumes=60, seconds=1.2, waiting=0.006), is_best=True)
    assert str(report).startswith("epoch  1/20 ")
    assert str(report).endswith("(1.5 s, 50 volumes/s, 0.5% of the time waiting for data, best so far)")
    assert "validation loss 0.250" in str(report)
    assert "\n" not in str(report)
    assert "best" not in str(dataclasses.replace(report, is_best=False))
