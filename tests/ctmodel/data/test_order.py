"""An epoch's order is an exact shuffle, and the same for ever."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.data.order import cut_batches, epoch_batches, epoch_order, row_keys
from ctmodel.devices.parts import replica_part

seeds = st.integers(0, 2**32 - 1)


@given(st.integers(0, 300), seeds, st.integers(0, 1000))
def test_an_epoch_visits_every_row_once(n_rows, seed, epoch):
    assert sorted(epoch_order(n_rows, seed=seed, epoch=epoch)) == list(range(n_rows))


def test_the_order_never_changes_by_accident():
    assert epoch_order(10, seed=0, epoch=0).tolist() == [0, 7, 4, 9, 2, 1, 6, 8, 5, 3]
    assert epoch_order(10, seed=0, epoch=1).tolist() == [2, 9, 5, 7, 8, 4, 6, 0, 1, 3]
    assert epoch_order(10, seed=1, epoch=0).tolist() == [6, 7, 2, 4, 1, 8, 9, 5, 0, 3]


def scramble_in_plain_python(value: int) -> int:
    """One step of splitmix64, as its authors print it."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


@given(seeds, st.integers(0, 10**6), st.integers(0, 9), st.integers(0, 10**9))
def test_keys_are_those_of_splitmix64(seed, epoch, stream, row):
    expected = 0
    for part in (seed, epoch, stream, row):
        expected = scramble_in_plain_python((expected + part) % 2**64)
    assert int(row_keys(np.array([row]), seed=seed, epoch=epoch, stream=stream)[0]) == expected


def test_every_place_is_as_likely_for_every_row():
    n_rows, n_epochs = 8, 4000
    orders = np.array([epoch_order(n_rows, seed=3, epoch=epoch) for epoch in range(n_epochs)])
    counts = np.array([np.bincount(column, minlength=n_rows) for column in orders.T])
    expected = n_epochs / n_rows
    chi_squared = np.sum((counts - expected) ** 2 / expected)
    assert chi_squared < 85.4  # the 0.999 quantile for 49 degrees of freedom


@given(st.integers(0, 100), st.integers(1, 20))
def test_batches_hold_every_row_in_order_and_differ_by_one_at_most(n_rows, batch_size):
    batches = cut_batches(np.arange(n_rows), batch_size)
    sizes = [len(batch) for batch in batches]
    assert np.concatenate([np.empty(0, int), *batches]).tolist() == list(range(n_rows))
    assert max(sizes, default=0) <= batch_size
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(batches) == -(-n_rows // batch_size)


EPOCH = {"batch_size": 4, "seed": 7, "epoch": 1}


def test_the_rows_of_each_step_never_change_by_accident():
    rows = np.arange(100, 110)
    batches = [batch.tolist() for batch in epoch_batches(rows, **EPOCH)]
    assert batches == [[109, 103, 108, 107], [106, 100, 105], [104, 102, 101]]
    thirds = {0: [[109], [106], [104]], 1: [[103], [100], [102]], 2: [[108, 107], [105], [101]]}
    for replica, parts in thirds.items():
        assert [replica_part(batch, replica, 3).tolist() for batch in epoch_batches(rows, **EPOCH)] == parts


@given(st.integers(1, 60), st.integers(1, 20), seeds, st.integers(0, 9), st.data())
def test_an_epoch_begun_at_any_step_has_the_same_steps(n_rows, batch_size, seed, epoch, data):
    whole = epoch_batches(np.arange(n_rows), batch_size=batch_size, seed=seed, epoch=epoch)
    first = data.draw(st.integers(0, len(whole)))
    rest = epoch_batches(np.arange(n_rows), batch_size=batch_size, seed=seed, epoch=epoch, first_step=first)
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[first:]]


@given(st.integers(0, 60), st.integers(1, 7))
def test_the_replicas_parts_make_up_a_batch_in_its_order(n_rows, replicas):
    batch = np.arange(n_rows)[::-1]
    parts = [replica_part(batch, replica, replicas) for replica in range(replicas)]
    assert np.concatenate(parts).tolist() == batch.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_fewer_rows_than_replicas_leave_some_without():
    assert [len(replica_part(np.arange(2), replica, 4)) for replica in range(4)] == [0, 1, 0, 1]
