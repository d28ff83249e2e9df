"""The oldest releases of what ctprep needs, and the releases that are newer than it allows.

Usage: python tests/dependency_ends.py oldest     constraints for pip, one line for each dependency
       python tests/dependency_ends.py outdated   what this environment could not install, if anything
"""

import configparser
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"


def dependencies() -> Iterator[tuple[str, str]]:
    """Yield the name and the lower bound of each dependency of an installation without extras."""
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    for line in setup["options"]["install_requires"].splitlines():
        if found := re.fullmatch(r"([\w-]+)>=([\d.]+).*", line):
            yield found[1], found[2]


def outdated() -> list[str]:
    """Return a line for each dependency of which there is a newer release than the newest that may be installed."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--outdated", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {name for name, _ in dependencies()}
    newer = [found for found in json.loads(listed.stdout) if found["name"] in ours]
    return [
        f"{found['name']} {found['latest_version']} is out; {found['version']} is the newest here" for found in newer
    ]


if __name__ == "__main__":
    if sys.argv[1] == "oldest":
        print("\n".join(f"{name}=={lower}" for name, lower in dependencies()))
    else:
        print("\n".join(outdated()) or "every dependency is the newest there is")
