"""Rows of earlier versions: schema 0005 turns arrays of captions into bytes, 0007 tells translators from captioners."""

import json
import logging
from collections.abc import Callable

import pytest
from sqlalchemy import JSON, column, insert, select, table, text

from captioner.config import DEFAULT_BUNDLE
from captioner.errors import ConfigError
from service.api.serializers import caption_document
from service.store.captions import Store
from service.store.database import Database
from service.store.datasets import PHOTOS
from service.store.tables import DataSetRow
from service.store.versions import Versions
from tests.service.inference.test_documents import as_lists, drawn_caption, stored

TABLES_OF_0006 = ("collection_deletions", "collection_words", "collection_photos", "collections")
"""Tables that schema 0006 adds."""
OF_0007 = (("datasets", "kind"), ("versions", "language"), ("promotions", "language"))
"""Tables and their columns that schema 0007 adds."""
COLUMNS = ("id", "created_at", "caption", "probability", "width", "height", "model_version", "document")


@pytest.fixture
def make_earlier(open_database) -> Callable[[list], None]:
    """Leave a database of schema 0004 that holds captions with these documents; their ids count from 0."""

    def make(documents: list) -> None:
        captions = table("captions", *(column(name, JSON if name == "document" else None) for name in COLUMNS))
        with open_database().writing() as session:
            for later in TABLES_OF_0006:
                session.execute(text(f"DROP TABLE {later}"))
            for name, added in (*OF_0007, ("captions", "arrays")):
                session.execute(text(f"ALTER TABLE {name} DROP COLUMN {added}"))
            session.execute(text("UPDATE alembic_version SET version_num = '0004'"))
            columns = {"created_at": 1.0, "caption": "a zebra", "probability": 0.5, "width": 96, "height": 64}
            rows = [
                columns | {"id": f"{number:032x}", "model_version": "0123456789ab", "document": document}
                for number, document in enumerate(documents)
            ]
            session.execute(insert(captions), rows)

    return make


def raw_rows(database: Database) -> list[tuple[str, bytes | None]]:
    """The documents of all rows as text, and their arrays as bytes."""
    with database.reading() as session:
        rows = session.execute(text("SELECT CAST(document AS TEXT), arrays FROM captions ORDER BY sequence")).all()
    return [(document, None if arrays is None else bytes(arrays)) for document, arrays in rows]


def without_id(answer: str, number: int) -> dict:
    """An answer's JSON, with the id of an entry of `stored`."""
    return json.loads(answer.replace(f"{number:032x}", "0" * 32)) | {"created_at": None}


def test_rows_of_an_earlier_version_give_the_same_answers_and_take_less_room(make_earlier, open_database):
    """More rows than one batch, with one to three captions each."""
    old_entries = []
    for number in range(210):
        captions = [drawn_caption(3 + rank, number, labelled=number % 2 == 1) for rank in range(1 + number % 3)]
        old_entries.append(stored(map(as_lists, captions), {}))
    make_earlier([entry.document for entry in old_entries])
    database = open_database()
    store = Store(database)
    for number, old_entry in enumerate(old_entries):
        new_answer = caption_document(store.get(f"{number:032x}")).model_dump_json()
        assert without_id(new_answer, number) == without_id(caption_document(old_entry).model_dump_json(), number)
    assert len(store.get(f"{2:032x}").arrays) == 9, "three of each of its three captions"
    for (document, arrays), old_entry in zip(raw_rows(database), old_entries, strict=True):
        assert not {"alphas", "gates", "word_log_probs"} & set(json.loads(document)["captions"][0])
        assert len(document) + len(arrays) < len(json.dumps(old_entry.document))


def test_rows_without_arrays_and_damaged_ones_stay_as_they_are(make_earlier, open_database, caplog):
    complete = as_lists(drawn_caption(3, 0))
    documents = [
        {},
        {"captions": [{"text": "a dog"}]},
        {"captions": [complete, complete | {"alphas": [[[0.5, 0.5], [1.0]]]}]},
        {"captions": [complete | {"gates": ["high", "low", "low"]}]},
        {"captions": [complete | {"alphas": [0.1] * 500}]},
        {"captions": "none"},
        ["odd"],
        {"captions": [complete]},
    ]
    make_earlier(documents)
    with caplog.at_level(logging.ERROR):
        rows = raw_rows(open_database())
    assert [json.loads(document) for document, _ in rows[:-1]] == documents[:-1]
    assert [arrays is None for _, arrays in rows] == [True] * 7 + [False]
    damaged = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert len(damaged) == 5 and damaged[0].startswith("The arrays of the caption of row 3 are damaged (")


def test_a_migration_that_is_cut_short_changes_nothing(make_earlier, open_database, monkeypatch):
    """The next start does the whole of it."""

    def fail(*_):
        raise OSError("cut short")

    make_earlier([{"captions": [as_lists(drawn_caption(3, number))]} for number in range(3)])
    with monkeypatch.context() as patch:
        patch.setattr("service.store.database.check_home", fail)  # after the migration
        with pytest.raises(ConfigError, match="cut short"):
            open_database()
    rows = raw_rows(open_database())
    assert all(arrays is not None and "alphas" not in document for document, arrays in rows)
    assert raw_rows(open_database()) == rows, "a further start changes nothing"


def test_rows_from_before_translators_are_of_photos_and_captioners(open_database, tmp_path):
    database = open_database()
    with database.writing() as session:
        for name, added in OF_0007:
            session.execute(text(f"ALTER TABLE {name} DROP COLUMN {added}"))
        session.execute(text("UPDATE alembic_version SET version_num = '0006'"))
        session.execute(text("INSERT INTO versions (id, compared, facts) VALUES ('0123456789ab', false, '{}')"))
        session.execute(text("INSERT INTO promotions (version) VALUES ('0123456789ab')"))
        session.execute(
            text(
                "INSERT INTO datasets (id, name, origin, created_at, root, report)"
                " VALUES ('a', 'dogs', 'zip', '2026', 'data', '{}')"
            )
        )
    (tmp_path / "home" / "models" / "0123456789ab").mkdir(parents=True)
    (tmp_path / "home" / "datasets" / "a").mkdir(parents=True)
    later = open_database()
    versions = Versions(later, tmp_path / "home", DEFAULT_BUNDLE)
    assert (versions.current.id, versions.current.language) == ("0123456789ab", "")
    assert versions.current_translators() == {}
    with later.reading() as session:
        assert session.scalars(select(DataSetRow)).one().kind == PHOTOS
