"""Captions in both kinds of database, with concurrent threads and processes, and a process killed while writing."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from service.settings import Settings
from service.store.captions import CaptionSummary, Store, StoredCaption
from service.store.database import Database, _use_write_ahead_log

ROOT = Path(__file__).parents[3]

PROCESS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
import uuid
from service.store.database import Database
from service.store.captions import Store, StoredCaption

store = Store(Database(sys.argv[1], Path(sys.argv[2])))
for number in range(int(sys.argv[3])):
    caption_id = uuid.uuid4().hex
    store.add(StoredCaption(id=caption_id, created_at=datetime.now(UTC), caption="a dog", probability=0.5, width=1,
                            height=1, model_version="abc", document={"alphas": [0.1] * 5000}))
    print(caption_id, flush=True)
"""
"""Adds captions to the database at a URL and prints the id of each once it is stored."""


def entry(caption: str = "a dog", **changes) -> StoredCaption:
    document = {"captions": [{"text": caption, "alphas": [[[0.25, 0.75]]]}], "seen_box": [0.5, -3.0, 90.0, 80.0]}
    stored = StoredCaption(
        id=uuid.uuid4().hex,
        created_at=datetime(2026, 11, 23, 21, 0, 0, 123456, UTC),
        caption=caption,
        probability=0.0123,
        width=640,
        height=426,
        model_version="0123456789ab",
        document=document,
    )
    return replace(stored, **changes)


def texts(page: tuple[list[CaptionSummary], int]) -> list[str]:
    return [summary.caption for summary in page[0]]


@pytest.fixture
def open_store(open_database) -> Callable[[], Store]:
    return lambda: Store(open_database())


@pytest.fixture
def store(open_store) -> Store:
    return open_store()


@pytest.fixture
def of_sqlite(tmp_path) -> Iterator[tuple[Store, Path]]:
    """Yield a store and its file."""
    file = tmp_path / "captioner.db"
    with contextlib.closing(Database(f"sqlite:///{file}", tmp_path)) as database:
        yield Store(database), file


def test_a_stored_caption_is_read_back_unchanged_also_after_reopening(store, open_store):
    first = entry("ein Hund läuft 🐕", document={"seconds": {"encode": 0.1}, "words": ["naïve", "犬"], "none": None})
    second = entry(correction="a cat", corrected_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))
    store.add(first)
    store.add(second)
    reopened = open_store()
    assert reopened.get(first.id) == first
    assert reopened.get(second.id) == second
    assert reopened.get("0" * 32) is None


def test_times_are_stored_as_utc(store):
    local = datetime(2026, 11, 23, 23, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store.add(entry(created_at=local))
    (summary,), _ = store.page(1, 1)
    assert summary.created_at == local
    assert summary.created_at.isoformat() == "2026-11-23T18:00:00+00:00"


def test_pages_list_captions_in_reverse_order_of_insertion(store):
    """Not by a clock, which may stand still or be set back."""
    assert store.page(1, 3) == ([], 0)
    for number in range(7):
        store.add(entry(str(number), created_at=datetime(2026, 1, 20 - number // 2, tzinfo=UTC)))
    assert [texts(store.page(number, 3)) for number in (1, 2, 3, 4)] == [["6", "5", "4"], ["3", "2", "1"], ["0"], []]
    assert {store.page(number, 3)[1] for number in (1, 3, 4)} == {7}


def test_a_page_holds_everything_except_the_documents(store):
    warnings = [{"kind": "blank", "message": "It shows nothing."}]
    complete = entry(correction="a cat", corrected_at=datetime(2026, 1, 2, tzinfo=UTC), warnings=warnings)
    store.add(complete)
    (summary,), _ = store.page(1, 1)
    assert type(summary) is CaptionSummary
    assert all(value == getattr(complete, name) for name, value in vars(summary).items())


def test_a_page_does_not_read_documents(of_sqlite):
    store, file = of_sqlite
    store.add(entry("a dog runs"))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE captions SET document = 'no JSON'")
    connection.close()
    assert texts(store.page(1, 20)) == ["a dog runs"]
    with pytest.raises(ValueError, match="Expecting value"):
        store.get(store.page(1, 20)[0][0].id)


def test_a_deleted_caption_cannot_be_read(store):
    remaining, deleted = entry("kept"), entry("gone")
    store.add(remaining)
    store.add(deleted)
    assert store.delete(deleted.id)
    assert store.get(deleted.id) is None
    assert (texts(store.page(1, 9)), store.ids()) == (["kept"], {remaining.id})
    assert not store.delete(deleted.id)


def test_a_correction_is_stored_replaced_and_removed(store):
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


def test_an_unknown_caption_cannot_be_corrected(store):
    assert store.correct("0" * 32, "a cat") is None
    assert store.ids() == set()


def test_trimming_removes_the_oldest_captions_and_returns_their_ids(store):
    entries = [entry(str(number)) for number in range(5)]
    for stored in entries:
        store.add(stored)
    assert store.trim(5) == []
    assert sorted(store.trim(2)) == sorted(stored.id for stored in entries[:3])
    assert texts(store.page(1, 9)) == ["4", "3"]
    assert store.trim(2) == []


def test_trimming_keeps_corrected_captions_and_the_newest_others(store):
    entries = [entry(str(number)) for number in range(5)]
    for stored in entries:
        store.add(stored)
    for number in (0, 1, 3):
        store.correct(entries[number].id, "a cat")
    assert store.trim(1) == [entries[2].id]
    assert texts(store.page(1, 9)) == ["4", "3", "1", "0"]
    store.correct(entries[1].id, None)
    assert store.trim(1) == [entries[1].id]


def test_the_number_of_corrected_captions_is_limited(store, caplog):
    """Any client may correct captions: without a limit, all corrected ones would stay for ever."""
    entries = [entry(str(number)) for number in range(12)]
    for stored in entries:
        store.add(stored)
    for number in (4, 0, 1, 3, 2):
        store.correct(entries[number].id, "a cat")
    assert store.trim(12, keep_corrected=6) == []
    # All five are kept, beside the newest six.
    assert store.trim(11, keep_corrected=6) == [entries[5].id]
    assert texts(store.page(1, 99)) == ["11", "10", "9", "8", "7", "6", "4", "3", "2", "1", "0"]
    # Three are kept: the most recently corrected.
    assert sorted(store.trim(6, keep_corrected=3)) == sorted(entries[number].id for number in (0, 4, 6, 7, 8))
    assert texts(store.page(1, 99)) == ["11", "10", "9", "3", "2", "1"]
    assert "2 corrected captions were deleted" in caplog.text
    assert store.trim(6, keep_corrected=3) == []
    # A withdrawn correction no longer counts.
    store.correct(entries[3].id, None)
    store.add(entry("12"))
    assert store.trim(6, keep_corrected=3) == [entries[3].id]
    assert store.trim(1, keep_corrected=0) and texts(store.page(1, 99)) == ["12"]


def test_trimming_waits_until_a_minimum_can_be_removed(store):
    entries = [entry(str(number)) for number in range(6)]
    for stored in entries:
        store.add(stored)
    assert store.trim(3, spare=3) == store.trim(3, keep_corrected=1, spare=3) == []
    assert sorted(store.trim(3, keep_corrected=1, spare=2)) == sorted(stored.id for stored in entries[:3])


@pytest.mark.parametrize("keep", [1, 2, 3, 7])
def test_the_limit_holds_whichever_captions_are_corrected(store, keep):
    for number in range(20):
        added = entry(str(number))
        store.add(added)
        if number % 3:
            store.correct(added.id, "a cat")
        store.trim(keep, keep_corrected=keep // 2)
        newest = texts(store.page(1, 99))
        assert len(newest) == min(keep, number + 1)
        uncorrected = keep - keep // 2
        assert newest[:uncorrected] == [str(index) for index in range(number, max(-1, number - uncorrected), -1)]


def test_sixteen_threads_read_and_write_concurrently(store):
    def work(thread: int) -> set[str]:
        own_entries = [entry(f"{thread} {number}") for number in range(20)]
        for stored in own_entries:
            store.add(stored)
            assert store.get(stored.id) == stored
            assert store.correct(stored.id, stored.caption).correction == stored.caption
            page, total = store.page(1, 10)
            assert len(page) <= total
        assert store.delete(own_entries[0].id)
        return {stored.id for stored in own_entries[1:]}

    with ThreadPoolExecutor(16) as pool:
        expected_ids = set().union(*pool.map(work, range(16)))
    assert store.ids() == expected_ids
    (newest, *_), total = store.page(1, 10)
    assert (total, newest.correction) == (16 * 19, newest.caption)


def test_an_acknowledged_correction_is_never_trimmed(store):
    """Trimming and correcting at the same time: either the caption was removed before, or it stays."""
    entries = [entry() for _ in range(300)]
    for stored in entries:
        store.add(stored)

    def correct(stored: StoredCaption) -> str | None:
        return None if store.correct(stored.id, "a cat") is None else stored.id

    with ThreadPoolExecutor(4) as pool:
        corrections = [pool.submit(correct, stored) for stored in entries[::-1]]
        trimmed = []
        for keep in range(299, -1, -1):
            trimmed += store.trim(keep)
    corrected_ids = {future.result() for future in corrections} - {None}
    assert store.ids() == corrected_ids
    assert sorted([*trimmed, *corrected_ids]) == sorted(stored.id for stored in entries)


def test_readers_do_not_wait_for_a_writer(of_sqlite):
    store, file = of_sqlite
    store.add(entry("a dog runs"))
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("UPDATE captions SET caption = 'half-done'")
    assert texts(store.page(1, 1)) == ["a dog runs"]
    writer.execute("ROLLBACK")
    writer.close()


def test_a_new_file_gets_its_write_ahead_log_while_another_process_writes(tmp_path):
    file = tmp_path / "captioner.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("CREATE TABLE captions (text)")
        writer.execute("BEGIN IMMEDIATE")
        end = threading.Timer(0.3, writer.execute, ["COMMIT"])
        end.start()
        with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
            _use_write_ahead_log(connection)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        end.join()


@pytest.fixture
def start(database_settings, tmp_path) -> Callable[[int], subprocess.Popen]:
    """Start a process that adds a number of captions."""
    settings = Settings(home=tmp_path / "home", **database_settings)
    settings.make_home()
    arguments = [settings.database.render_as_string(hide_password=False), str(settings.home)]

    def start_process(count: int) -> subprocess.Popen:
        command = [sys.executable, "-c", PROCESS, *arguments, str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    return start_process


def test_processes_may_create_the_database_and_write_concurrently(open_store, start):
    processes = [start(20) for _ in range(3)]
    acknowledged = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [len(ids) for ids in acknowledged] == [20, 20, 20]
    assert open_store().ids() == set().union(*acknowledged)


def test_acknowledged_captions_survive_a_kill(open_store, start):
    process = start(1_000_000)
    acknowledged = [process.stdout.readline().strip() for _ in range(50)]
    process.kill()
    with process:  # `communicate` would pass over what `readline` has read ahead
        acknowledged += process.stdout.read().split()
    assert process.returncode == -9
    store = open_store()
    assert len(store.ids() - set(acknowledged)) <= 1  # stored, and killed before it could print the id
    assert set(acknowledged) <= store.ids()
    assert all(len(store.get(caption_id).document["alphas"]) == 5000 for caption_id in store.ids())
    store.add(entry("after"))
    assert texts(store.page(1, 1)) == ["after"]
