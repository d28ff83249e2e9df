"""What augmentation costs, beside a step of each network on the same batch: make bench-augment."""

import statistics
import time
from collections.abc import Callable

import numpy as np

from ctmodel.data import augment
from ctmodel.devices.backend import tf
from ctmodel.networks.build import NETWORKS, build
from ctmodel.training.fit import Trainer

SHAPE, BATCH = (64, 64, 32), 8
RUNS = 15
LINE = "{:<34}{:>10}" + "{:>22}" * len(NETWORKS)


def median_ms(run: Callable[[], object]) -> float:
    """Return the wall time of a call, after one that is not counted."""
    run()
    spent = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return 1e3 * statistics.median(spent)


def main() -> None:
    volumes = tf.constant(np.random.default_rng(0).random((BATCH, *SHAPE, 1), dtype=np.float32))
    shares = np.eye(2)[np.arange(BATCH) % 2]
    steps = {}
    for name in NETWORKS:
        trainer = Trainer(build(name, SHAPE, 2), np.ones(2))
        steps[name] = median_ms(lambda trainer=trainer: trainer.step(volumes, shares).numpy())
    print(
        f"median of {RUNS}, {BATCH} volumes of {'x'.join(map(str, SHAPE))}, {tf.config.list_logical_devices()[-1].name}"
    )
    print(LINE.format("", "ms", *(f"/ step of {name}" for name in steps)))
    for name, step in steps.items():
        print_row(f"a step of {name}", step, steps)
    plain = tf.function(augment.apply.python_function, autograph=False)
    for strength, augmentation in augment.PRESETS.items():
        draws = draw(augmentation)
        print_row(f"{strength}, drawn", median_ms(lambda a=augmentation: draw(a)), steps)
        print_row(f"{strength}, applied", median_ms(lambda d=draws: augment.apply(volumes, d).numpy()), steps)
        print_row(f"{strength}, applied without XLA", median_ms(lambda d=draws: plain(volumes, d).numpy()), steps)


def draw(augmentation: augment.Augmentation) -> augment.Draws:
    return augment.draw(augmentation, np.arange(BATCH), shape=SHAPE, seed=0, epoch=0)


def print_row(name: str, ms: float, steps: dict[str, float]) -> None:
    print(LINE.format(name, f"{ms:.2f}", *(f"{ms / step:.2%}" for step in steps.values())), flush=True)


if __name__ == "__main__":
    main()
