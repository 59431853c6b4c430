"""Data sets, trainings, versions and promotions: move from files in the home to rows.

The files are kept, but no longer read.
"""

import json
import logging
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"

log = logging.getLogger(__name__)


def upgrade() -> None:
    datasets = op.create_table(
        "datasets",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
    )
    trainings = op.create_table(
        "trainings",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("cancelling", sa.Boolean(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
    )
    versions = op.create_table(
        "versions",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("compared", sa.Boolean(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
    )
    promotions = op.create_table(
        "promotions",
        sa.Column("sequence", sa.Integer(), primary_key=True),
        sa.Column("version", sa.String(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table("identity", sa.Column("id", sa.String(), primary_key=True))
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA user_version = 2")  # older versions of the program refuse the file because of it
    if (home := context.config.attributes["home"]) is None:
        return
    op.bulk_insert(datasets, _datasets(home / "datasets"))
    op.bulk_insert(trainings, _trainings(home / "trainings"))
    op.bulk_insert(versions, _versions(home / "models"))
    op.bulk_insert(promotions, _promotions(home / "models"))


def _datasets(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in folder.glob("[!.]*/dataset.json"):
        facts, report = _json(path), _json(path.with_name("report.json"))
        if facts and report:
            rows.append({"report": report} | {name: facts[name] for name in ("id", "name", "origin", "created_at")})
            rows[-1]["root"] = facts["root"]
    return rows


def _trainings(folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "id": path.parent.name,
            "cancelling": path.with_name("cancel").exists(),
            "request": request,
            "state": _json(path.with_name("state.json")) or {"state": "failed"},
        }
        for path in folder.glob("[!.]*/request.json")
        if (request := _json(path))
    ]


def _versions(folder: Path) -> list[dict[str, Any]]:
    return [
        {"id": path.parent.name, "facts": facts, "compared": path.with_name("comparison").is_dir()}
        for path in folder.glob("[!.]*/version.json")
        if (facts := _json(path))
    ]


def _promotions(folder: Path) -> list[dict[str, Any]]:
    history = (_json(folder / "current.json") or {}).get("history", [])
    return [{"version": version} for version in history if isinstance(version, str)]


def _json(path: Path) -> dict[str, Any] | None:
    """Read a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        log.error("%s is damaged, and is left out", path)
        return None
