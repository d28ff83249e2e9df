"""Other readers see the same voxels, labels and places in the world."""

import json
import struct

import numcodecs
import numpy as np
import pytest
import tensorstore
import xarray
import zarr

import ctprep
from ctprep.volume.recipe import Recipe


@pytest.fixture(scope="module", params=["float16", "float32", "uint8"])
def store(request, tmp_path_factory):
    from tests.conftest import write_scan

    folder = tmp_path_factory.mktemp("interoperability")
    for number in range(5):
        write_scan(folder / "raw" / f"CT-{number % 2}" / f"s{number}.nii.gz", seed=number)
    recipe = Recipe(shape=(10, 9, 8), dtype=request.param)
    return ctprep.convert(folder / "raw", folder / "out.zarr", recipe=recipe).store


def test_zarr_python_reads_the_same_voxels(store):
    volumes = zarr.open_group(store.path, mode="r")["volume"][...]
    assert all(np.array_equal(volumes[row], store.volume(row)) for row in range(len(store)))


def test_tensorstore_reads_the_same_voxels_and_numbers(store):
    def read(name):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store.path / name)}}
        return tensorstore.open(spec, read=True).result().read().result()

    assert all(np.array_equal(read("volume")[row], store.volume(row)) for row in range(len(store)))
    assert np.array_equal(read("label"), store.labels)
    assert np.array_equal(read("affine"), [record.affine for record in store.records])


def test_xarray_reads_the_same_values_and_selects_by_scan(store):
    dataset = xarray.open_zarr(store.path)
    for row, scan in enumerate(store.scans):
        assert np.allclose(dataset.volume.sel(scan=scan), store.unit(store.volume(row)), atol=1e-7)


def crc32c(content):
    """Compute the CRC-32C bit by bit (RFC 3720, appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


class ReaderFromTheDesign:
    """A reader that knows the page about the store and the Zarr v3 specification, and no library for either."""

    def __init__(self, path):
        self.path = path
        self.attributes = json.loads((path / "zarr.json").read_text())["attributes"]["ctprep"]

    def array(self, name):
        saved = json.loads((self.path / name / "zarr.json").read_text())
        grid = [-(-n // c) for n, c in zip(saved["shape"], self.chunk(saved), strict=True)]
        parts = [self.read_chunk(name, saved, index) for index in np.ndindex(*grid)]
        return np.concatenate(parts) if saved["data_type"] != "string" else [text for part in parts for text in part]

    @staticmethod
    def chunk(saved):
        return saved["chunk_grid"]["configuration"]["chunk_shape"]

    def read_chunk(self, name, saved, index):
        separator = saved["chunk_key_encoding"]["configuration"]["separator"]
        content = (self.path / name / separator.join(["c", *map(str, index)])).read_bytes()
        content, checksum = content[:-4], content[-4:]
        assert crc32c(content).to_bytes(4, "little") == checksum
        if saved["data_type"] == "string":
            return self.strings(content)
        return np.frombuffer(numcodecs.blosc.decompress(content), saved["data_type"]).reshape(self.chunk(saved))

    @staticmethod
    def strings(content):
        (count,), position, texts = struct.unpack_from("<I", content), 4, []
        for _ in range(count):
            (length,) = struct.unpack_from("<I", content, position)
            texts.append(content[position + 4 : position + 4 + length].decode())
            position += 4 + length
        return texts


def test_a_reader_written_from_the_design_alone_needs_nothing_else(store):
    reader = ReaderFromTheDesign(store.path)
    assert reader.attributes["format"] == 1
    assert tuple(reader.attributes["classes"]) == store.classes
    assert tuple(reader.array("scan")) == store.scans
    assert np.array_equal(reader.array("label"), store.labels)
    assert tuple(reader.array("source_sha256")) == tuple(record.source_sha256 for record in store.records)
    volumes = reader.array("volume")
    assert all(np.array_equal(volumes[row], store.volume(row)) for row in range(len(store)))
