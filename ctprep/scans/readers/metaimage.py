"""MetaImage files, which ITK writes: a `.mha`, or a `.mhd` and its voxel file, read as slabs."""

from pathlib import Path

from ctprep.errors import BadGeometry, Oversize, Truncated, Unreadable
from ctprep.scans.readers.byte_source import ByteSource, open_scan, read_at_most, skip_exactly, translated_errors
from ctprep.scans.readers.header import MAX_EXTENSION, ScanHeader
from ctprep.scans.readers.metaimage_header import MAX_TEXT_BYTES, MetaImageHeader, parse_text, split_text
from ctprep.scans.readers.slabs import SlabReader, VoxelPlace

FORMAT_NAME = "MetaImage"


class MetaImageReader(SlabReader):
    """One pass over one `.mha`, or over a `.mhd` and the file that it names."""

    format_name = FORMAT_NAME

    def _find_voxels(self) -> tuple[ScanHeader, VoxelPlace]:
        source = self._open(self.path)
        text, rest = split_text(read_at_most(source.stream, MAX_TEXT_BYTES), self.path)
        header = parse_text(text, self.path, orientation=self.orientation)
        _judge_name(header, self.path)
        if header.voxel_file is None:
            source.unread(rest)
            return header, self._place_in(source, header, passed=len(text))
        if source.read(1):
            raise Oversize(f"{self.path.name}: is larger than {MAX_TEXT_BYTES >> 10} KiB; remove what it need not say")
        return header, self._place_in(self._open(_voxel_file_of(self.path, header)), header, passed=0)

    def _place_in(self, source: ByteSource, header: MetaImageHeader, *, passed: int) -> VoxelPlace:
        """Find the voxels in a file of which some bytes were read."""
        start = header.voxels_start or passed
        if header.voxels_start is None:
            start = _start_from_end(source, header, passed)
        if start < passed:
            raise Unreadable(f"{self.path.name}: its HeaderSize is {start}, but its header is longer; repair it")
        if not header.compressed:
            return VoxelPlace(source, start, passed)
        if header.compressed_bytes is not None:
            _judge_compressed_size(source, source.size - start, header.compressed_bytes)
        source.allow(start)
        skip_exactly(source.stream, start - passed)
        source.inflate(zlib=True)
        return VoxelPlace(source, 0, passed=0)


def metaimage_files(path: Path) -> tuple[Path, ...]:
    """Return the files that make up a scan: a `.mha`, or a `.mhd` and the file that its text names.

    Raises
    ------
    BadScan
        If the text cannot be read, or no such file is beside it.
    """
    if not path.name.lower().endswith(".mhd"):
        return (path,)
    with translated_errors(path), open_scan(path, FORMAT_NAME) as file:
        text, _ = split_text(read_at_most(file, MAX_TEXT_BYTES), path)
    header = parse_text(text, path, orientation="LPS")  # which it need not say to name its voxels' file
    return (path,) if header.voxel_file is None else (path, _voxel_file_of(path, header))


def _voxel_file_of(path: Path, header: MetaImageHeader) -> Path:
    voxel_file = path.with_name(header.voxel_file or path.name)
    with translated_errors(path):
        if not voxel_file.exists():
            raise Unreadable(f"{path.name}: its voxel file {voxel_file.name} is missing; put it beside the header")
    return voxel_file


def _judge_name(header: MetaImageHeader, path: Path) -> None:
    """Raise where voxels are in a file of their own, which the name of a `.mha` denies."""
    if header.voxel_file is not None and path.name.lower().endswith(".mha"):
        raise Unreadable(f"{path.name}: has its voxels in {header.voxel_file}, which its name denies; name it .mhd")


def _start_from_end(source: ByteSource, header: MetaImageHeader, passed: int) -> int:
    """Return where voxels begin that are the last bytes of a file."""
    start, name = source.size - header.voxel_bytes, source.path.name
    if start < passed:
        raise Truncated(f"{name}: holds {source.size:,} bytes, its header declares more voxels; copy it again")
    if start > MAX_EXTENSION:
        raise BadGeometry(f"{name}: {start:,} bytes precede its voxels, at most {MAX_EXTENSION:,} may; repair it")
    return start


def _judge_compressed_size(source: ByteSource, found: int, declared: int) -> None:
    name = source.path.name
    if found < declared:
        raise Truncated(f"{name}: holds {found:,} compressed bytes, its header declares {declared:,}; copy it again")
    if found > declared:
        raise Unreadable(
            f"{name}: holds {found:,} compressed bytes, its header declares {declared:,}; repair its CompressedDataSize"
        )
