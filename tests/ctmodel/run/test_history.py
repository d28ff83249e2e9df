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
    assert str(report) == ("epoch  1/20  loss 0.700 AUROC 0.500  validation 0.250 AUROC 0.500  1.5 s, 28 s left  best")
    assert "\n" not in str(report)
    assert "best" not in str(dataclasses.replace(report, is_best=False))


def test_a_report_says_the_time_left_in_the_largest_unit():
    (epoch,) = history_of([0.25])
    for seconds, shown in [(0.5, "9.5 s"), (5, "95 s"), (60, "19 min"), (900, "5 h"), (20_000, "4 days")]:
        assert f", {shown} left" in str(EpochReport(epoch, 20, seconds, Pace(), is_best=True))


def test_the_last_report_has_no_time_left():
    (epoch,) = history_of([0.25])
    assert str(EpochReport(epoch, 1, 90.0, Pace(), is_best=False)).endswith("AUROC 0.500  90 s")


@given(st.integers(1, 999), st.floats(0, 2e5), st.floats(0, 99), st.booleans())
def test_a_report_fits_100_columns(number, seconds, loss, is_best):
    epoch = Epoch(number, 0.001, loss, 0.5, 0.5, loss, 0.5, 0.5)
    assert len(str(EpochReport(epoch, 999, seconds, Pace(), is_best=is_best))) <= 100
