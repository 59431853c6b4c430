"""The database of captions: real files, many threads and processes at once, a process killed while it writes."""

import sqlite3
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import service.store
from captioner.errors import ConfigError
from service.store import CaptionSummary, Store, StoredCaption

ROOT = Path(__file__).parents[2]

PROCESS = """
import sys
from datetime import UTC, datetime
import uuid
from service.store import Store, StoredCaption

store = Store(sys.argv[1])
for number in range(int(sys.argv[2])):
    caption_id = uuid.uuid4().hex
    store.add(StoredCaption(id=caption_id, created_at=datetime.now(UTC), caption="a dog", probability=0.5, width=1,
                            height=1, model_version="abc", document={"alphas": [0.1] * 5000}))
    print(caption_id, flush=True)
"""
"""Adds captions to the database at a URL, and tells the id of each once it is kept."""


def entry(caption: str = "a dog", **changes) -> StoredCaption:
    document = {"captions": [{"text": caption, "alphas": [[[0.25, 0.75]]]}], "seen_box": [0.5, -3.0, 90.0, 80.0]}
    plain = StoredCaption(
        id=uuid.uuid4().hex,
        created_at=datetime(2026, 11, 23, 21, 0, 0, 123456, UTC),
        caption=caption,
        probability=0.0123,
        width=640,
        height=426,
        model_version="0123456789ab",
        document=document,
    )
    return replace(plain, **changes)


def texts(page: tuple[list[CaptionSummary], int]) -> list[str]:
    return [summary.caption for summary in page[0]]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "captioner.db"


@pytest.fixture
def open_store(file):
    stores = []

    def open_it() -> Store:
        stores.append(Store(f"sqlite:///{file}"))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store) -> Store:
    return open_store()


def test_a_caption_comes_back_as_it_was_kept_also_from_the_file(store, open_store):
    first = entry("ein Hund läuft 🐕", document={"seconds": {"encode": 0.1}, "words": ["naïve", "犬"], "none": None})
    second = entry(correction="a cat", corrected_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))
    store.add(first)
    store.add(second)
    store.close()
    again = open_store()
    assert again.get(first.id) == first
    assert again.get(second.id) == second
    assert again.get("0" * 32) is None


def test_times_are_utc_whatever_they_were_given_in(store):
    local = datetime(2026, 11, 23, 23, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store.add(entry(created_at=local))
    (found,), _ = store.page(1, 1)
    assert found.created_at == local
    assert found.created_at.isoformat() == "2026-11-23T18:00:00+00:00"


def test_pages_are_newest_first_by_when_a_caption_was_added(store):
    """Not by a clock, which may stand still or be set back."""
    assert store.page(1, 3) == ([], 0)
    for number in range(7):
        store.add(entry(str(number), created_at=datetime(2026, 1, 20 - number // 2, tzinfo=UTC)))
    assert [texts(store.page(number, 3)) for number in (1, 2, 3, 4)] == [["6", "5", "4"], ["3", "2", "1"], ["0"], []]
    assert {store.page(number, 3)[1] for number in (1, 3, 4)} == {7}


def test_a_page_holds_all_but_the_documents(store):
    whole = entry(correction="a cat", corrected_at=datetime(2026, 1, 2, tzinfo=UTC))
    store.add(whole)
    (summary,), _ = store.page(1, 1)
    assert type(summary) is CaptionSummary
    assert all(value == getattr(whole, name) for name, value in vars(summary).items())


def test_a_page_does_not_read_documents(store, file):
    store.add(entry("a dog runs"))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE captions SET document = 'no JSON'")
    connection.close()
    assert texts(store.page(1, 20)) == ["a dog runs"]
    with pytest.raises(ValueError, match="Expecting value"):
        store.get(store.page(1, 20)[0][0].id)


def test_a_deleted_caption_is_gone(store):
    kept, gone = entry("kept"), entry("gone")
    store.add(kept)
    store.add(gone)
    assert store.delete(gone.id)
    assert store.get(gone.id) is None
    assert (texts(store.page(1, 9)), store.ids()) == (["kept"], {kept.id})
    assert not store.delete(gone.id)


def test_a_correction_is_kept_replaced_and_forgotten(store):
    plain, other = entry(), entry()
    store.add(plain)
    store.add(other)
    before = datetime.now(UTC)
    corrected = store.correct(plain.id, "a cat sleeps")
    assert before <= corrected.corrected_at <= datetime.now(UTC)
    assert corrected == replace(plain, correction="a cat sleeps", corrected_at=corrected.corrected_at)
    assert store.get(plain.id) == corrected
    assert store.correct(plain.id, "two cats").correction == "two cats"
    assert store.get(other.id) == other
    assert store.correct(plain.id, None) == plain
    assert store.get(plain.id) == plain


def test_what_is_not_there_cannot_be_corrected(store):
    assert store.correct("0" * 32, "a cat") is None
    assert store.ids() == set()


def test_trimming_forgets_the_oldest_and_tells_their_ids(store):
    entries = [entry(str(number)) for number in range(5)]
    for each in entries:
        store.add(each)
    assert store.trim(5) == []
    assert sorted(store.trim(2)) == sorted(each.id for each in entries[:3])
    assert texts(store.page(1, 9)) == ["4", "3"]
    assert store.trim(2) == []


def test_trimming_spares_what_was_corrected_and_the_newest_beside_it(store):
    entries = [entry(str(number)) for number in range(5)]
    for each in entries:
        store.add(each)
    for number in (0, 1, 3):
        store.correct(entries[number].id, "a cat")
    assert store.trim(1) == [entries[2].id]
    assert texts(store.page(1, 9)) == ["4", "3", "1", "0"]
    store.correct(entries[1].id, None)
    assert store.trim(1) == [entries[1].id]


def test_sixteen_threads_read_and_write_at_once(store):
    def work(thread: int) -> set[str]:
        mine = [entry(f"{thread} {number}") for number in range(20)]
        for each in mine:
            store.add(each)
            assert store.get(each.id) == each
            assert store.correct(each.id, each.caption).correction == each.caption
            page, total = store.page(1, 10)
            assert len(page) <= total
        assert store.delete(mine[0].id)
        return {each.id for each in mine[1:]}

    with ThreadPoolExecutor(16) as pool:
        kept = set().union(*pool.map(work, range(16)))
    assert store.ids() == kept
    (newest, *_), total = store.page(1, 10)
    assert (total, newest.correction) == (16 * 19, newest.caption)


def test_a_correction_that_was_acknowledged_is_never_trimmed(store):
    """Trimming and correcting at the same time: either the caption was gone before, or it stays."""
    entries = [entry() for _ in range(300)]
    for each in entries:
        store.add(each)

    def correct(each: StoredCaption) -> str | None:
        return None if store.correct(each.id, "a cat") is None else each.id

    with ThreadPoolExecutor(4) as pool:
        corrections = [pool.submit(correct, each) for each in entries[::-1]]
        trimmed = []
        for keep in range(299, -1, -1):
            trimmed += store.trim(keep)
    corrected = {each.result() for each in corrections} - {None}
    assert store.ids() == corrected
    assert sorted([*trimmed, *corrected]) == sorted(each.id for each in entries)


def test_nobody_waits_for_a_writer_to_read(store, file):
    store.add(entry("a dog runs"))
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("UPDATE captions SET caption = 'half-done'")
    assert texts(store.page(1, 1)) == ["a dog runs"]
    writer.execute("ROLLBACK")
    writer.close()


def start(file, count: int) -> subprocess.Popen:
    command = [sys.executable, "-c", PROCESS, f"sqlite:///{file}", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_processes_may_make_the_database_and_write_at_once(open_store, file):
    processes = [start(file, 20) for _ in range(3)]
    acknowledged = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [len(ids) for ids in acknowledged] == [20, 20, 20]
    assert open_store().ids() == set().union(*acknowledged)


def test_what_was_acknowledged_survives_a_kill(open_store, file):
    process = start(file, 1_000_000)
    acknowledged = [process.stdout.readline().strip() for _ in range(50)]
    process.kill()
    acknowledged += process.communicate(timeout=60)[0].split()
    assert process.returncode == -9
    store = open_store()
    assert len(store.ids() - set(acknowledged)) <= 1  # kept, and killed before it could say so
    assert set(acknowledged) <= store.ids()
    assert all(len(store.get(caption_id).document["alphas"]) == 5000 for caption_id in store.ids())
    store.add(entry("after"))
    assert texts(store.page(1, 1)) == ["after"]


def test_a_start_that_was_cut_short_does_no_harm(open_store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(service.store, "SCHEMA_VERSION", "nonsense (")  # after the tables were made
        with pytest.raises(ConfigError):
            open_store()
    open_store().add(entry())


def test_the_folder_is_made(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'new' / 'folder' / 'captioner.db'}")
    store.close()
    assert (tmp_path / "new" / "folder" / "captioner.db").is_file()


def garbage(file):
    file.write_bytes(b"no database" * 500)


def folder(file):
    file.mkdir()


def newer_version(file):
    Store(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {service.store.SCHEMA_VERSION + 1}")
    connection.close()


def of_another_program(file):
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {service.store.SCHEMA_VERSION}")
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (garbage, "file is not a database"),
        (folder, "unable to open database file"),
        (newer_version, "its schema is 2, and this version's is 1"),
        (of_another_program, "was not made by this version of the program"),
    ],
)
def test_a_file_that_is_no_database_of_ours_is_refused_and_left_as_it_is(file, make, says):
    make(file)
    before = None if file.is_dir() else file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        Store(f"sqlite:///{file}")
    assert says in str(caught.value)
    assert f"the database {file} " in str(caught.value) and "CAPTIONER_HOME" in str(caught.value)
    assert before is None or file.read_bytes() == before


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file" / "captioner.db", "/proc/captioner.db"):  # not even root may write to /proc
        with pytest.raises(ConfigError, match=f"the database {place} cannot be used .*CAPTIONER_HOME"):
            Store(f"sqlite:///{place}")
