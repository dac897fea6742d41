"""The documented REST surfaces, one package each; a package offers its `blueprint`."""

from __future__ import annotations

import importlib
import pkgutil

from flask import Blueprint


def blueprints() -> list[Blueprint]:
    """The blueprint of every surface, once all modules of all packages are imported: some add to others' blueprints."""
    found = []
    for package in pkgutil.iter_modules(__path__):
        if not package.ispkg:
            continue
        surface = importlib.import_module(f"{__name__}.{package.name}")
        for module in pkgutil.iter_modules(surface.__path__):
            importlib.import_module(f"{surface.__name__}.{module.name}")
        found.append(surface.blueprint)
    return found
