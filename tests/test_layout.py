"""The house as a whole: its top level, its settings, its schema."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playhouse.schema_diff import diff_models

import models
from cli import settings as settings_verb
from gateway import config
from gateway.services import schema
from models import database as db
from tests.conftest import ROOT

DOORS = ("commands", "web", "smtp", "tasks", "cli")
CODE = (*DOORS, "gateway", "models", "migrations")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")
    yield from (path for path in (ROOT / "wsgi.py", ROOT / "api.php.py") if path.exists())


def test_the_top_level_is_as_named() -> None:
    wanted = {
        "setup.cfg", "pyproject.toml", "Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "requirements.txt",
        "requirements-dev.txt", "api.php.py", "wsgi.py", "commands", "web", "smtp", "tasks", "cli", "gateway",
        "models", "migrations", "tests", "docs", "benchmarks", "deploy", ".ci",
    }  # fmt: skip
    assert {name for name in wanted if not (ROOT / name).exists()} == set()


def test_every_module_opens_with_one_sentence_and_none_is_named_for_nothing() -> None:
    without = []
    for path in sources(*CODE):
        text = path.read_text()
        if text.strip() and not re.match(r'(#![^\n]*\n)?r?"""[^"\n]', text):
            without.append(str(path.relative_to(ROOT)))
        assert path.stem not in ("utils", "helpers", "common", "managers"), path
    assert without == []


def test_only_the_clock_tells_the_time_in_the_engine() -> None:
    told = re.compile(r"\bdatetime\.now\(|\butcnow\(|\btime\.time\(")
    found = [
        path for path in sources("gateway", "commands") if path.name != "clock.py" and told.search(path.read_text())
    ]
    assert found == []


def test_every_setting_is_read_somewhere() -> None:
    text = "\n".join(path.read_text() for path in sources(*CODE) if path != ROOT / "gateway" / "config.py")
    own = (ROOT / "gateway" / "config.py").read_text()
    properties = own[own.index("class Settings") :]
    unread = []
    for setting in config.SETTINGS:
        name = setting.name.lower()
        # Some are read through a property of the settings that is read elsewhere.
        through = [
            found
            for found, body in re.findall(r"def (\w+)\(self\)[^\n]*\n((?:        [^\n]*\n)+)", properties)
            if re.search(rf"self\.{name}\b", body) and re.search(rf"\.{found}\b", text)
        ]
        if not re.search(rf"\.{name}\b|\"{name}\"", text) and not through:
            unread.append(setting.variable)
    assert unread == []


def test_the_page_of_settings_is_fresh() -> None:
    page = ROOT / "docs" / "settings.md"
    assert page.read_text() == settings_verb.markdown(), "stale: run `make docs`"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_lock_names_versions_and_no_places(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; .+)?", line)] == []


def _package(requirement: str) -> str:
    """Its name in the one spelling that all spellings of it share (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[ <>=~!]", requirement.strip())[0]).lower()


def test_the_lock_holds_what_setup_cfg_wants() -> None:
    wanted = (ROOT / "setup.cfg").read_text().partition("install_requires =")[2].partition("\n\n")[0]
    names = {_package(line) for line in wanted.splitlines() if line}
    locked = {_package(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if line}
    assert names - {""} - locked == set()


def test_models_and_migrations_agree(store: str) -> None:
    assert schema.pending() == []
    assert str(diff_models(db.database.obj, models.DURABLE)).strip() in ("", "No changes."), "write a migration"


def test_a_migrated_sqlite_file_has_the_very_tables_of_the_models(tmp_path: Path) -> None:
    made = {}
    for way in ("migrated", "created"):
        folder = tmp_path / way
        db.connect("sqlite:", folder)
        try:
            if way == "migrated":
                schema.migrate(folder)
            else:
                db.database.create_tables(models.DURABLE)
        finally:
            db.close()
        with closing(sqlite3.connect(folder / "commandpost.db")) as file:
            found = file.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            # An index is what it covers; its name comes from the class that made it.
            made[way] = {
                re.sub(r'INDEX "\w+"', "INDEX", re.sub(r"\s+", " ", sql))
                for name, sql in found
                if "schema_migration" not in sql and not name.startswith("sqlite_")
            }
    assert made["migrated"] == made["created"]


def test_migrating_twice_applies_nothing(store: str, tmp_path: Path) -> None:
    assert schema.migrate(tmp_path) == []
