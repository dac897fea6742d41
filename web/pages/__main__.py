"""`python -m web.pages DIRECTORY`: write the generated pages, and take away those of commands that are gone."""

from __future__ import annotations

import sys
from pathlib import Path

from web.pages import generated, stale


def main(folder: Path) -> None:
    for left in stale(folder):
        left.unlink()
    for path, text in generated().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
