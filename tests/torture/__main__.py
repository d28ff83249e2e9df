"""The long versions of all harnesses, or of some: `python -m tests.torture [NAME ...]`; two hours on two cores.

Their rows, with seed 0, take the place of older ones in the table of RESULTS.md. Exits with 1 where anything was wrong.
"""

import argparse
from importlib import import_module
from pathlib import Path

from tests.torture.report import as_line, run, updated

HARNESSES = (
    "kills",
    "interruptions",
    "faults",
    "locks",
    "histories",
    "damage",
    "hostile_bits",
    "hostile_headers",
    "hostile_metaimage",
    "hostile_bombs",
    "hostile_names",
    "training_kills",
    "crossval_kills",
)
RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(HARNESSES))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if unknown := set(given.names) - set(HARNESSES):
        parser.error(f"no such harness: {', '.join(sorted(unknown))}; there are {', '.join(HARNESSES)}")
    wrong = 0
    for name in given.names or HARNESSES:
        rows = []
        for row in run(import_module(f"tests.torture.{name}").long_version, given.seed):
            print(as_line(row), flush=True)
            rows.append(row)
        wrong += sum(row.wrong for row in rows)
        if given.seed == 0:
            RESULTS.write_text(updated(RESULTS.read_text(), name, rows, order=HARNESSES))
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
