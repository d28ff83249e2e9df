"""Where TensorFlow and Keras enter: set up before their first use, and with a clear error when they are missing.

Every other module takes `keras` and `tf` from here.
"""

import contextlib
import os
from typing import Any

from ctmodel.devices.processor import choose_onednn
from ctmodel.errors import MissingTensorFlow
from ctprep.execution.cores import available_cores

ON_GPU = "GPU"


def _share_gpu_memory() -> None:
    """Let TensorFlow take GPU memory as it needs it, and leave the rest to others."""
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # the program set its GPU up before it called us: leave it so
            tf.config.experimental.set_memory_growth(gpu, True)


def _keep_to_own_cores() -> None:
    """Let TensorFlow start as many threads as the process may use cores; by itself it overlooks a quota."""
    cores = available_cores()
    with contextlib.suppress(RuntimeError):  # the program has begun to use TensorFlow: leave it so
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(cores)


# Both read these when they are imported, and have no other switch; what the user has set stays.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
choose_onednn(os.environ)
try:
    import tensorflow as tf

    _share_gpu_memory()
    _keep_to_own_cores()
    import keras
    from tensorflow.python.client import device_lib
    from tensorflow.python.util import _pywrap_util_port
except ImportError as error:
    raise MissingTensorFlow(
        f"TensorFlow: cannot be imported ({error}); install it with: pip install '.[train]'"
    ) from error


def make_reproducible(seed: int) -> None:
    """Seed every generator and make TensorFlow's operations repeat to the bit on the same machine.

    The choice of deterministic operations holds for the rest of the process.

    Parameters
    ----------
    seed : int
        Seeds Python, NumPy and TensorFlow, and so the first weights and every dropout.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def is_in_use() -> bool:
    """Return whether TensorFlow has begun its work in this process: too late to join other machines."""
    from tensorflow.python.eager import context  # here, as TensorFlow may move it

    return context.context()._initialized


def make_workers_strategy(jobs: dict[str, tuple[str, ...]], *, within: float, heartbeat: float) -> Any:
    """Return the strategy of several machines, which are all there; the first use of TensorFlow in the process.

    Parameters
    ----------
    jobs : dict of str to tuple of str
        The addresses of each kind of task, the chief's first; TensorFlow reads the same from `TF_CONFIG`.
    within : float
        Seconds after which it is an error if another has ended meanwhile.
    heartbeat : float
        Seconds without a sign of life after which a machine is gone.

    Returns
    -------
    tf.distribute.MultiWorkerMirroredStrategy

    Raises
    ------
    tf.errors.OpError
        If another machine is gone meanwhile.
    """
    # Imported here, as TensorFlow may move them, and no other strategy needs them.
    from tensorflow.python.distribute.collective_all_reduce_strategy import coordination_config_pb2
    from tensorflow.python.eager import context

    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{next(iter(jobs))}/replica:0/task:0",
        cluster_register_timeout_in_ms=int(within * 1000),
        heartbeat_timeout_in_ms=int(heartbeat * 1000),
        shutdown_barrier_timeout_in_ms=int(heartbeat * 1000),  # none is gone before the others have its last word
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=job, num_tasks=len(addresses))
            for job, addresses in jobs.items()
        ],
    )
    return tf.distribute.MultiWorkerMirroredStrategy()


def kernels() -> str:
    """Return what TensorFlow computes with: "GPU"; or on a CPU "oneDNN", or "Eigen", which rounds otherwise."""
    if tf.config.list_physical_devices("GPU"):
        return ON_GPU
    return "oneDNN" if _pywrap_util_port.IsMklEnabled() else "Eigen"


def accelerator() -> str | None:
    """Return the name of the GPU that batches are made on, the first of several; None where there is none."""
    gpus = tf.config.list_logical_devices("GPU")
    return gpus[0].name if gpus else None


def free_accelerator_bytes() -> int:
    """Return how much memory a GPU has left; 0 where there is none, or several."""
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) != 1:
        return 0
    limits = {device.name: device.memory_limit for device in device_lib.list_local_devices()}
    name = gpus[0].name.rpartition("/device:")[2]
    return limits[f"/device:{name}"] - tf.config.experimental.get_memory_info(name)["current"]
