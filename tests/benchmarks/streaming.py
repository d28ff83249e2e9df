"""What a training reads a second, beside its peers; how that grows; and how soon it begins.

Usage: python tests/benchmarks/streaming.py [rates] [sizes] [memory] [start] [--rounds N], or make bench

Everything is written to a temporary folder and removed. Without a name all four are measured, in some minutes.

rates    volumes of 64 x 64 x 32 float16 a second, batches of 16, in the page cache, into a step that does nothing. Each
         contender is a process of its own, as it would be used; they take turns
sizes    the same for stores of 1,000 and of 50,000 small volumes
memory   what reading takes beside the process, for 1,024 and 8,192 volumes
start    the first batch after opening a store of 10,000 scans, by cause; `ctmodel --help`
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from stores import write_store

SHAPE = (64, 64, 32)
SMALL = (8, 8, 8)
SIZES = (1_000, 50_000)
N_SCANS = 1024
BATCH = 16
VISITS = 8
"""Passes over the store that make one epoch, so that what an epoch costs once counts as it does for 8,192 scans."""

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
CTMODEL = Path(sys.executable).with_name("ctmodel")
OURS, LIMIT = "stream", "from_tensor_slices"

Epoch = Callable[[], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        contend(CONTENDERS[arguments.contender](arguments.folder))
        return
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](Path(folder), arguments.rounds)
        print(flush=True)


def contend(epoch: Epoch) -> None:
    """Run an epoch for each line that comes in; say how many volumes a second it gave, and their CPU time in us."""
    epoch()
    for _ in sys.stdin:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        visited = epoch()
        cpu = time.process_time() - begin_cpu
        print(visited / (time.perf_counter() - begin), cpu / visited * 1e6, flush=True)


def take_turns(runs: dict[str, tuple[str, Path]], rounds: int) -> dict[str, list[float]]:
    """Return the median volumes a second and CPU time a volume, in us, of each contender on its store."""
    processes = {
        run: subprocess.Popen(
            [sys.executable, __file__, "--contender", contender, "--folder", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | QUIET,
            text=True,
        )
        for run, (contender, folder) in runs.items()
    }
    said: dict[str, list[list[float]]] = {run: [] for run in runs}
    for _ in range(rounds + 1):
        for run, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            said[run].append([float(number) for number in process.stdout.readline().split()])
    for process in processes.values():
        process.communicate()
    return {run: [statistics.median(numbers) for numbers in zip(*of_run[1:])] for run, of_run in said.items()}


def measure_rates(folder: Path, rounds: int) -> None:
    store = write_store(folder / "scans.zarr", N_SCANS, SHAPE)
    write_peers(folder)
    found = take_turns({name: (name, store) for name in CONTENDERS}, rounds)
    (stream, _), (host, _) = found[OURS], found["host"]
    print(f"rates: {N_SCANS:,} volumes of 64 x 64 x 32 float16, batches of {BATCH}, median of {rounds}")
    print(f"{'':<44}{'volumes/s':>10}{'CPU us each':>13}{'stream is':>11}{'host is':>9}")
    for name, (rate, cpu) in found.items():
        print(f"{LABELS[name]:<44}{rate:>10,.0f}{cpu:>13,.0f}{stream / rate:>10.2f}x{host / rate:>8.2f}x")


def write_peers(folder: Path) -> None:
    """Write the same volumes as a NumPy array and as TFRecords."""
    from ctmodel.devices.backend import tf
    from ctprep.store.store import open_store

    store = open_store(folder / "scans.zarr")
    volumes = np.lib.format.open_memmap(folder / "volumes.npy", "w+", np.float16, (len(store), *SHAPE))
    with tf.io.TFRecordWriter(str(folder / "volumes.tfrecord")) as writer:
        for row in range(len(store)):
            store.read_into(row, volumes[row])
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[volumes[row].tobytes()]))
            example = tf.train.Example(features=tf.train.Features(feature={"volume": feature}))
            writer.write(example.SerializeToString())
    volumes.flush()


def orders(n_scans: int, visits: int) -> Iterator[np.ndarray]:
    """Yield another order for each epoch, in which each row comes several times."""
    random = np.random.default_rng(0)
    while True:
        yield np.concatenate([random.permutation(n_scans) for _ in range(visits)])


def batches_of(order: np.ndarray) -> list[np.ndarray]:
    return np.array_split(order, len(order) // BATCH)


def exhaust(steps: object) -> None:
    for _ in steps:
        pass


def our_pipeline(residency: str) -> Callable[[Path], Epoch]:
    def prepare(store: Path) -> Epoch:
        from ctmodel.data.augment import Augmentation
        from ctmodel.data.batches import open_volumes
        from ctmodel.data.pipeline import training_dataset
        from ctmodel.data.residency import settle
        from ctmodel.devices.memory import keep_freed_memory

        keep_freed_memory()  # as the command line does
        opened, reader = open_volumes(store)
        volumes = settle(reader, np.arange(len(opened)), residency)
        order = orders(len(opened), visits(len(opened)))

        def epoch() -> int:
            rows = next(order)
            for step in training_dataset(volumes, batches_of(rows), seed=0, epoch=0, augmentation=Augmentation()):
                if residency == "device":
                    volumes.gather(step.items)
            return len(rows)

        return epoch

    return prepare


def visits(n_scans: int) -> int:
    """Return how often an epoch takes each row: stores of every size give epochs of one length."""
    return VISITS if n_scans == N_SCANS else max(SIZES) // n_scans


def our_reader(store: Path) -> Epoch:
    from ctmodel.data.batches import open_volumes
    from ctmodel.devices.memory import keep_freed_memory

    keep_freed_memory()  # as the command line does
    _, reader = open_volumes(store)
    order = orders(N_SCANS, VISITS)

    def epoch() -> int:
        exhaust(reader.read(batches_of(next(order))))
        return N_SCANS * VISITS

    return epoch


def by_tensorstore(store: Path) -> Epoch:
    import tensorstore

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store / "volume")}}
    volumes = tensorstore.open(spec, read=True).result()
    order = orders(N_SCANS, VISITS)

    def epoch() -> int:
        under_way = []
        for rows in batches_of(next(order)):
            under_way.append(volumes[rows].read())
            if len(under_way) > 4:
                under_way.pop(0).result()
        for batch in under_way:
            batch.result()
        return N_SCANS * VISITS

    return epoch


def by_inflation(store: Path) -> Epoch:
    """Inflate chunks that are in memory, on two threads, into the same volume: what no reader can do without."""
    import numcodecs.blosc

    from ctprep.store.chunk import CHECKSUM_BYTES, chunk_path

    chunks = [(store / chunk_path(row)).read_bytes()[:-CHECKSUM_BYTES] for row in range(N_SCANS)]
    threads, order = ThreadPoolExecutor(2), orders(N_SCANS, VISITS)
    numcodecs.blosc.use_threads = False

    def inflate(rows: np.ndarray) -> None:
        volume = np.empty(SHAPE, np.float16)
        for row in rows:
            numcodecs.blosc.decompress(chunks[row], volume)

    def epoch() -> int:
        exhaust(threads.map(inflate, np.array_split(next(order), 2)))
        return N_SCANS * VISITS

    return epoch


def by_zarr(store: Path) -> Epoch:
    import zarr

    from ctmodel.devices.backend import tf

    volumes = zarr.open_group(store, mode="r")["volume"]
    order = orders(N_SCANS, 1)
    spec = tf.TensorSpec(SHAPE, tf.float16)

    def epoch() -> int:
        one_by_one = (volumes[row] for row in next(order))
        exhaust(tf.data.Dataset.from_generator(lambda: one_by_one, output_signature=spec).batch(BATCH).prefetch(2))
        return N_SCANS

    return epoch


def by_tfrecord(store: Path) -> Epoch:
    from ctmodel.devices.backend import tf

    def parse(record: object) -> object:
        example = tf.io.parse_single_example(record, {"volume": tf.io.FixedLenFeature((), tf.string)})
        return tf.reshape(tf.io.decode_raw(example["volume"], tf.float16), SHAPE)

    records = tf.data.TFRecordDataset(str(store.parent / "volumes.tfrecord")).repeat(VISITS)
    dataset = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(2)

    def epoch() -> int:
        exhaust(dataset)
        return N_SCANS * VISITS

    return epoch


def by_memmap(store: Path) -> Epoch:
    volumes = np.load(store.parent / "volumes.npy", mmap_mode="r")
    order = orders(N_SCANS, VISITS)

    def epoch() -> int:
        for rows in batches_of(next(order)):
            volumes[rows]
        return N_SCANS * VISITS

    return epoch


def by_memmap_generator(store: Path) -> Epoch:
    from ctmodel.devices.backend import tf

    volumes = np.load(store.parent / "volumes.npy", mmap_mode="r")
    order = orders(N_SCANS, VISITS)
    spec = tf.TensorSpec((None, *SHAPE), tf.float16)

    def epoch() -> int:
        gathers = (volumes[rows] for rows in batches_of(next(order)))
        exhaust(tf.data.Dataset.from_generator(lambda: gathers, output_signature=spec).prefetch(2))
        return N_SCANS * VISITS

    return epoch


def by_tensor_slices(store: Path) -> Epoch:
    from ctmodel.devices.backend import tf

    volumes = tf.constant(np.load(store.parent / "volumes.npy"))
    dataset = tf.data.Dataset.from_tensor_slices(volumes).repeat(VISITS).batch(BATCH).prefetch(2)

    def epoch() -> int:
        exhaust(dataset)
        return N_SCANS * VISITS

    return epoch


def by_tensor_gather(store: Path) -> Epoch:
    from ctmodel.devices.backend import tf

    volumes = tf.constant(np.load(store.parent / "volumes.npy"))
    order = orders(N_SCANS, VISITS)

    def epoch() -> int:
        rows = tf.data.Dataset.from_tensor_slices(next(order)).batch(BATCH)
        exhaust(rows.map(lambda batch: tf.gather(volumes, batch)).prefetch(2))
        return N_SCANS * VISITS

    return epoch


CONTENDERS: dict[str, Callable[[Path], Epoch]] = {
    OURS: our_pipeline("stream"),
    "host": our_pipeline("host"),
    "device": our_pipeline("device"),
    "reader": our_reader,
    "inflation": by_inflation,
    "tensorstore": by_tensorstore,
    "zarr": by_zarr,
    "tfrecord": by_tfrecord,
    "memmap": by_memmap,
    "memmap_generator": by_memmap_generator,
    LIMIT: by_tensor_slices,
    "gather": by_tensor_gather,
}

LABELS = {
    OURS: "ctmodel, --residency stream",
    "host": "ctmodel, --residency host",
    "device": "ctmodel, --residency device (the processor)",
    "reader": "ctmodel, before tf.data",
    "inflation": "inflating alone, from memory",
    "tensorstore": "TensorStore, before tf.data",
    "zarr": "zarr-python one by one, from_generator",
    "tfrecord": "TFRecord, in file order",
    "memmap": "NumPy memmap gathers, before tf.data",
    "memmap_generator": "NumPy memmap gathers, from_generator",
    LIMIT: "from_tensor_slices in memory, in its order",
    "gather": "tf.gather in memory, random order",
}


def measure_sizes(folder: Path, rounds: int) -> None:
    stores = {size: write_store(folder / f"{size}.zarr", size, SMALL) for size in SIZES}
    print(f"sizes: volumes of 8 x 8 x 8 float16 a second, batches of {BATCH}, median of {rounds}")
    print(f"{'':<12}" + "".join(f"{f'{size:,}':>10}" for size in SIZES) + f"{'ratio':>8}")
    for residency in ("stream", "host", "device"):
        runs = {f"{residency} {size}": (residency, store) for size, store in stores.items()}
        (few, _), (many, _) = take_turns(runs, rounds).values()
        print(f"{residency:<12}{few:>10,.0f}{many:>10,.0f}{many / few:>8.2f}", flush=True)


def measure_memory(folder: Path, _rounds: int) -> None:
    print("memory: peak of --residency stream above the process that has read one batch, MB")
    for size in (1_024, 8_192):
        store = write_store(folder / f"{size}.zarr", size, SHAPE, distinct=256)
        code = PEAK.format(here=str(Path(__file__).parent), store=str(store), size=size)
        print(f"{size:>12,} volumes {subprocess.check_output([sys.executable, '-c', code], text=True):>8}", flush=True)


PEAK = """
import re, sys
sys.path.insert(0, {here!r})
import numpy as np
from ctmodel.data.augment import Augmentation
from ctmodel.data.batches import open_volumes
from ctmodel.data.pipeline import training_dataset
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
_, reader = open_volumes({store!r})
def pass_over(size):
    batches = np.arange(size).reshape(-1, 16)
    for _ in training_dataset(reader, batches, seed=0, epoch=0, augmentation=Augmentation()):
        pass
pass_over(16)
before = peak()
pass_over({size})
print(round(peak() - before), end="")
"""


def measure_start(folder: Path, rounds: int) -> None:
    store = write_store(folder / "scans.zarr", 10_000, SHAPE, distinct=256)
    lines = [subprocess.check_output([sys.executable, "-c", START, store], text=True) for _ in range(rounds)]
    print(f"start: seconds to the first batch of 10,000 scans of 64 x 64 x 32, median of {rounds}")
    for causes in zip(*(line.splitlines() for line in lines), strict=True):
        name = causes[0].rpartition(" ")[0]
        print(f"{name:<44}{statistics.median(float(cause.rpartition(' ')[2]) for cause in causes):>8.2f}")
    begin = time.perf_counter()
    for _ in range(rounds):
        subprocess.run([CTMODEL, "--help"], check=True, stdout=subprocess.DEVNULL)
    print(f"{'ctmodel --help':<44}{(time.perf_counter() - begin) / rounds:>8.2f}")


START = """
import sys, time
import numpy as np
import ctmodel.devices.backend
from ctmodel.data.augment import augmentation_of
from ctmodel.data.batches import open_volumes
from ctmodel.data.order import epoch_batches
from ctmodel.data.pipeline import training_epoch
from ctmodel.data.residency import settle
from ctmodel.settings import TrainSettings
def lap(name, begin):
    print(name, time.perf_counter() - begin)
    return time.perf_counter()
begin = now = time.perf_counter()
store, reader = open_volumes(sys.argv[1])
now = lap("open the store: tables, seal", now)
rows = np.arange(len(store))
reader.check(rows)
now = lap("four bytes of each chunk", now)
batches = epoch_batches(rows, batch_size=16, seed=0, epoch=0)
next(training_epoch(reader, batches, seed=0, epoch=0, augmentation=augmentation_of(TrainSettings().augment)))
lap("order, dataset, first batch, augmented", now)
lap("together", begin)
now = time.perf_counter()
settle(reader, rows, "host")
lap("reading all of it for --residency host", now)
"""


PARTS: dict[str, Callable[[Path, int], None]] = {
    "rates": measure_rates,
    "sizes": measure_sizes,
    "memory": measure_memory,
    "start": measure_start,
}


if __name__ == "__main__":
    main()
