"""The long versions of all harnesses, or of some: `python -m tests.torture [NAME ...]`; an hour on two cores.

All of them write their table to RESULTS.md here. Exits with 1 where anything was wrong.
"""

import argparse
import platform
from importlib import import_module
from pathlib import Path

from tests.torture.report import as_line, as_markdown, run

HARNESSES = (
    "kills",
    "interruptions",
    "faults",
    "locks",
    "histories",
    "damage",
    "hostile_bits",
    "hostile_headers",
    "hostile_bombs",
    "hostile_names",
)
RESULTS = Path(__file__).with_name("RESULTS.md")

HEADING = """# What was done to ctprep, and what came of it

Made by `make torture`, seed {seed}, Python {python}. A row is the long version of a harness in this folder, which says
what counts as wrong; short versions run with the tests. The naive way is what the same harness finds in the few lines
that a script would have, or in a library's defaults: a harness that finds nothing there would prove nothing.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(HARNESSES))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if unknown := set(given.names) - set(HARNESSES):
        parser.error(f"no such harness: {', '.join(sorted(unknown))}; there are {', '.join(HARNESSES)}")
    rows = []
    for name in given.names or HARNESSES:
        for row in run(import_module(f"tests.torture.{name}").long_version, given.seed):
            print(as_line(row), flush=True)
            rows.append(row)
    if not given.names:
        heading = HEADING.format(seed=given.seed, python=platform.python_version())
        RESULTS.write_text(heading + as_markdown(rows))
    return int(any(row.wrong for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
