"""The generated pages under `docs/`: commands, errors and the contract, made from what the code itself says."""

from __future__ import annotations

from pathlib import Path

from commands import registry
from web.pages import commands, contract, errors

DATA = Path(__file__).resolve().parents[2] / "tests" / "contract" / "octeth.json"


def generated() -> dict[str, str]:
    """Every generated page by its path below the folder of the documentation."""
    pages = {"errors.md": errors.page(), "contract.md": contract.page(contract.read(DATA))}
    pages["commands/README.md"] = commands.index()
    return pages | {f"commands/{command.name}.md": commands.page(command) for command in registry.all_commands()}


def stale(folder: Path) -> list[Path]:
    """Pages of commands that are there no more."""
    wanted = generated()
    return [path for path in folder.glob("commands/*.md") if f"commands/{path.name}" not in wanted]
