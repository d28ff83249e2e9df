"""Stores for the benchmarks, written in seconds by ctprep's own code."""

import os
from pathlib import Path

import numpy as np

from ctprep.phantom import CohortSettings, make_scan
from ctprep.scans.scan import Scan
from ctprep.store.chunk import chunk_checksum, chunk_path, encode_chunk
from ctprep.store.format import StoreContents, write_tables
from ctprep.store.records import RECORD, Records
from ctprep.volume.recipe import Recipe

PHANTOMS = 16
LOWER, WIDTH = -1000, 1400
"""The window, in HU."""


def write_store(folder: Path, n_scans: int, shape: tuple[int, int, int], *, distinct: int | None = None) -> Path:
    """Write a store of phantoms, each turned a little further; rows beyond the distinct ones are hard links."""
    (folder / chunk_path(0)).parent.mkdir(parents=True)
    distinct = min(distinct or n_scans, n_scans)
    phantoms = [unit_phantom(index, shape) for index in range(min(PHANTOMS, distinct))]
    checksums = np.empty(n_scans, np.uint32)
    for row in range(distinct):
        turned = np.roll(phantoms[row % len(phantoms)], row // len(phantoms), axis=1)
        chunk = encode_chunk(turned)
        (folder / chunk_path(row)).write_bytes(chunk)
        checksums[row] = chunk_checksum(chunk)
    for row in range(distinct, n_scans):
        os.link(folder / chunk_path(row % distinct), folder / chunk_path(row))
        checksums[row] = checksums[row % distinct]
    write_tables(folder, contents(n_scans, shape, checksums))
    return folder


def unit_phantom(index: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw a phantom at the resolution of the store; a protocol's slices may be fewer, and the last is repeated."""
    drawn = make_scan(CohortSettings(shape=(64, 64, 32)), index)
    hu = drawn.stored * np.float32(drawn.slope) + np.float32(drawn.inter)
    hu = np.pad(hu, [(0, max(0, size - given)) for size, given in zip(shape, hu.shape)], mode="edge")
    unit = np.clip((hu - LOWER) / WIDTH, 0, 1).astype(np.float16)
    return unit[: shape[0], : shape[1], : shape[2]]


def contents(n_scans: int, shape: tuple[int, int, int], checksums: np.ndarray) -> StoreContents:
    records = np.zeros(n_scans, RECORD)
    records["affine"] = records["source_affine"] = np.eye(4)
    records["source_shape"] = shape
    records["source_sha256"] = [f"{row:064x}".encode() for row in range(n_scans)]
    scans = tuple(Scan(f"scan_{row:06}", "", row % 2, f"patient_{row:06}") for row in range(n_scans))
    return StoreContents(Recipe(shape=shape), ("normal", "abnormal"), scans, Records(records), checksums, ())
