"""Runs a recipe in folders that hold a scans.zarr each, in the interpreter that has the recipe's libraries."""

import os
import sys
import traceback
from pathlib import Path


def main(recipe: Path, *folders: Path) -> None:
    code = compile(recipe.read_text(), recipe, "exec")
    for folder in folders:
        os.chdir(folder)
        try:
            exec(code, {"__name__": "__main__"})  # noqa: S102 — that is what this is for
        except Exception:  # noqa: BLE001 — the recipes' libraries raise what they like; what it was is told
            Path("error.txt").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
