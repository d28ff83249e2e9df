"""Check an installation without extras: ctprep works, and ctmodel says what it needs.

Usage: python tests/check_wheel.py BIN, where BIN is the folder of the installed commands.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

SESSION = (
    "ctprep --version",
    "ctprep phantom raw --scans 4 --shape 40 40 20",
    "ctprep plan raw out.zarr",
    "ctprep convert raw out.zarr --labels raw/truth.csv",
    "ctprep info out.zarr",
    "ctprep montage out.zarr out.png",
    "ctprep export out.zarr CT-0/study_0002",
    "ctmodel --help",
)


def run(commands: Path, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *words = line.split()
    return subprocess.run(
        [commands / program, *words], cwd=folder, env={"PATH": ""}, capture_output=True, text=True, check=False
    )


def main(commands: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for line in SESSION:
            done = run(commands, line, folder)
            if done.returncode:
                sys.exit(f"{line}\n{done.stdout}{done.stderr}")
        train = run(commands, "ctmodel train out.zarr --run run", folder)
        if train.returncode != 1 or "pip install '.[train]'" not in train.stderr:
            sys.exit(f"ctmodel without its extra did not say what it needs:\n{train.stdout}{train.stderr}")
    print(f"the wheel works: {len(SESSION) + 1} commands")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
