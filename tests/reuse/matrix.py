"""Prints which tools read a store as we do, each by its recipe in docs/other-tools.md: make interop."""

import sys
import tempfile
from pathlib import Path

from tests.reuse.recipes import TOOLS, Stores, judge, make_stores

LINE = "{:<14}{:<22}{:<19}{:<17}{}"


def main() -> None:
    print(LINE.format("tool", "version", "voxels and labels", "a missing chunk", "a flipped bit"))
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        stores = make_stores(scratch)
        failed = [name for name, tool in TOOLS.items() if tool.is_installed and not print_row(name, stores, scratch)]
    for name in [name for name, tool in TOOLS.items() if not tool.is_installed]:
        print(LINE.format(name, "-", "not installed", "-", "-"))
    sys.exit(f"{', '.join(failed)}: not the same" if failed else 0)


def print_row(name: str, stores: Stores, scratch: Path) -> bool:
    verdict = judge(name, stores, scratch)
    said = "the same" if verdict.same else "DIFFERENT"
    print(LINE.format(name, TOOLS[name].version, said, verdict.missing, verdict.flipped), flush=True)
    print(verdict.error, end="", file=sys.stderr)
    return verdict.same


if __name__ == "__main__":
    main()
