"""Copies of one network on several devices: which a machine has, and which part of a batch each one takes.

Parts are contiguous and cut by pure arithmetic; what a replica computes is summed over all, so that their number
changes nothing but the rounding.
"""

from typing import Any

from ctmodel.devices.backend import tf
from ctmodel.devices.parts import part_bounds
from ctmodel.errors import SettingsError


def choose_strategy(name: str) -> Any:
    """Return the strategy of a name.

    Parameters
    ----------
    name : {"auto", "none", "mirrored"}
        "none" takes one device; "mirrored" all GPUs, or all logical CPUs where there is no GPU; "auto" is "mirrored"
        where there are several GPUs, and else "none".

    Returns
    -------
    tf.distribute.Strategy
        The default one, of one replica, where there is nothing to distribute.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "none" or len(devices) == 1 or (name == "auto" and not gpus):
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def describe_devices(strategy: Any, *, machines: int = 1) -> str:
    """Return what a strategy trains on, as in "2 GPUs"."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    n = strategy.num_replicas_in_sync
    where = f" on {machines} machines" * (machines > 1)
    return f"one {kind}" if n == 1 else f"{n} {kind}s{where}, which share each batch"


def check_enough(n_replicas: int, *, n_rows: int, batch_size: int) -> None:
    """Raise `SettingsError` if a replica would get no scan of some batch.

    Parameters
    ----------
    n_replicas : int
    n_rows : int
        How many there are to train on.
    batch_size : int
        The largest batch; the smallest follows from it.
    """
    n_batches = -(-n_rows // batch_size)
    if n_rows // n_batches < n_replicas:
        raise SettingsError(
            f"batch_size: the smallest batch has {n_rows // n_batches} scans, expected at least {n_replicas}, one for "
            "each replica; choose a larger one, or another --strategy"
        )


def own_part(batch: Any, *, of: Any = None) -> Any:
    """Return this replica's part of a batch.

    Parameters
    ----------
    batch : (n, ...) tensor
        Of the whole batch, or of this machine's part of it.
    of : int32 scalar tensor, optional
        How many scans the whole batch has, where `batch` is this machine's part.
    """
    context = tf.distribute.get_replica_context()
    part, parts = context.replica_id_in_sync_group, context.num_replicas_in_sync
    if parts == 1:
        return batch
    with tf.device("CPU"):  # only the part is copied to the replica's device, wherever the batch was made
        n = tf.shape(batch)[0] if of is None else of
        first, last = part_bounds(n, part=part, parts=parts)
        if of is None:
            return batch[first:last]
        here = len(context.strategy.extended.worker_devices)
        begin, _ = part_bounds(n, part=part - part % here, parts=parts)  # of the first replica on this machine
        return batch[first - begin : last - begin]


def place_in_batch(n_own: Any) -> tuple[Any, Any]:
    """Return how many scans the whole batch has, and the place of this replica's first one in it.

    Parameters
    ----------
    n_own : int32 scalar tensor
        Scans of this replica.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return n_own, 0
    n = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(n_own, tf.float32)), tf.int32)
    return n, part_bounds(n, part=context.replica_id_in_sync_group, parts=context.num_replicas_in_sync)[0]
