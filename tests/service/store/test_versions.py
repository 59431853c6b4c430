"""Versions are stored whole, exactly one is current, and no concurrent process breaks them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

import service.store.versions
from captioner.bundle.bundle import DEFAULT_BUNDLE, load_bundle, save_bundle
from captioner.errors import BundleError
from captioner.labels.names import LabelNames
from captioner.model.weights import tensors_sha256
from captioner.translation.bundle import load_translator_bundle
from service.settings import Settings
from service.store.fingerprint import Identity, identify, model_version, translator_version
from service.store.leftovers import ABANDONED_SECONDS
from service.store.tables import PromotionRow
from service.store.versions import BUILT_IN, UnknownVersion, VersionInUse, Versions
from tests.support.confidence_models import drawn_model
from tests.support.translators import save_tiny_translator

ROOT = Path(__file__).parents[3]


@pytest.fixture
def open_versions(open_database, tmp_path):
    """Each call acts like another process."""
    return lambda: Versions(open_database(), tmp_path / "home", DEFAULT_BUNDLE)


@pytest.fixture
def versions(open_versions):
    return open_versions()


@pytest.fixture
def bundles(make_bundle, tmp_path):
    """Folders of three captioners."""
    folders = [tmp_path / f"bundle{seed}" for seed in range(3)]
    for seed, folder in enumerate(folders):
        save_bundle(make_bundle(seed=seed), folder)
    return folders


@pytest.fixture
def german(tmp_path):
    """Folders of two translators to German."""
    folders = [tmp_path / name / "de" for name in ("first", "second")]
    for seed, folder in enumerate(folders):
        save_tiny_translator(folder.parent, seed=seed)
    return folders


def facts(name="dogs"):
    return {"name": name, "origin": "upload"}


def test_a_recalibrated_captioner_is_another_version(tiny_bundle):
    first, second = (replace(tiny_bundle, confidence=drawn_model(64, odds)) for odds in (0.0, 1.0))
    assert len({model_version(bundle) for bundle in (tiny_bundle, first, second)}) == 3


def test_a_captioner_with_corrected_label_names_is_another_version(versions, labelled_bundle, tmp_path):
    names = labelled_bundle.label_names.to_json()
    corrected = LabelNames.from_json([*names[:2], {**names[2], "names": ["meadow"]}])
    other_words = LabelNames.from_json([*names[:2], {**names[2], "words": ["green"]}])
    ids = []
    for label_names in (labelled_bundle.label_names, corrected, other_words):
        folder = tmp_path / f"bundle{len(ids)}"
        save_bundle(replace(labelled_bundle, label_names=label_names), folder)
        ids.append(versions.add(folder, facts()).id)
    assert len(set(ids)) == 3
    assert load_bundle(versions.get(ids[1]).bundle).label_names == corrected


def test_a_captioner_without_label_names_keeps_its_version(tiny_bundle):
    """The digits are those of versions from before labels and confidence models."""
    parts = [tiny_bundle.config.to_json(), tiny_bundle.decoding.to_json(), list(tiny_bundle.vocabulary.words)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode() + tensors_sha256(tiny_bundle.model).encode())
    assert model_version(tiny_bundle) == digest.hexdigest()[:12]


def test_without_versions_the_built_in_captioner_is_current(versions):
    assert [version.id for version in versions.all()] == [BUILT_IN]
    assert versions.current.id == BUILT_IN and versions.current.bundle == DEFAULT_BUNDLE
    with pytest.raises(VersionInUse, match="no version to return to"):
        versions.rollback()


def test_a_version_is_a_complete_copy_with_the_id_that_its_captions_carry(versions, open_versions, bundles, tmp_path):
    comparison = tmp_path / "comparison"
    comparison.mkdir()
    (comparison / "comparison.json").write_text("{}")
    added = versions.add(bundles[0], facts(), comparison)
    assert added.id == model_version(load_bundle(bundles[0]))
    assert added.facts["name"] == "dogs" and added.facts["created_at"]
    assert (added.comparison / "comparison.json").read_text() == "{}"
    for path in bundles[0].iterdir():
        assert (added.bundle / path.name).read_bytes() == path.read_bytes()
    assert versions.add(bundles[0], facts("again")).facts["name"] == "dogs", "the same captioner is the same version"
    newer = versions.add(bundles[1], facts("cats"))
    assert [version.id for version in versions.all()] == [newer.id, added.id, BUILT_IN]
    assert open_versions().get(added.id) == added
    assert newer.comparison is None


def test_a_folder_that_is_no_bundle_adds_nothing(versions, bundles, tmp_path):
    (bundles[0] / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(BundleError):
        versions.add(bundles[0], facts())
    assert os.listdir(tmp_path / "home" / "models") == []


def test_promotion_and_rollback_change_the_current_version(versions, bundles):
    first, second, third = (versions.add(bundle, facts()).id for bundle in bundles)
    for version in (first, second, second, third):
        assert versions.promote(version).id == versions.current.id == version
    assert versions.previous().id == second
    assert versions.rollback().id == second
    assert versions.rollback().id == first
    assert versions.rollback().id == BUILT_IN
    with pytest.raises(VersionInUse):
        versions.rollback()
    assert versions.current.id == BUILT_IN


def test_captioners_and_the_translators_of_each_language_are_promoted_apart(versions, bundles, german, tmp_path):
    captioner = versions.add(bundles[0], facts())
    first, second = (versions.add(folder, facts()) for folder in german)
    french = versions.add(save_tiny_translator(tmp_path, "fr"), facts())
    assert [version.language for version in (captioner, first, french)] == ["", "de", "fr"]
    assert first.facts["source"] == "en" and "source" not in captioner.facts and first.id != second.id
    assert versions.current_translators() == {}
    for version in (first, captioner, second, second, french):
        versions.promote(version.id)
    assert versions.current == captioner and versions.current_translators() == {"de": second, "fr": french}

    assert versions.previous("de") == first == versions.rollback("de")
    assert versions.current == captioner and versions.current_translators() == {"de": first, "fr": french}
    with pytest.raises(VersionInUse, match="in use"):
        versions.delete(first.id)
    assert versions.rollback("de") is None, "to the built-in translator, if there is one"
    assert versions.current_translators() == {"fr": french}
    with pytest.raises(VersionInUse, match="no version to return to"):
        versions.rollback("de")
    versions.delete(first.id)
    assert versions.rollback().id == BUILT_IN and versions.current_translators() == {"fr": french}


def test_a_missing_translator_is_not_current(versions, german):
    version = versions.add(german[0], facts())
    versions.promote(version.id)
    shutil.rmtree(version.bundle.parent)
    assert versions.current_translators() == {} and versions.rollback("de") is None


def test_translators_that_read_another_language_or_have_other_weights_are_other_versions(german):
    bundle = load_translator_bundle(german[0])
    other = replace(bundle, source_language="fr")
    ids = {translator_version(each) for each in (bundle, other, load_translator_bundle(german[1]))}
    assert len(ids) == 3 and identify(german[0]) == Identity(translator_version(bundle), "en", "de")


def test_a_broken_translator_adds_nothing(versions, german, tmp_path):
    (german[0] / "source.json").unlink()
    with pytest.raises(BundleError, match=r"source\.json is missing"):
        versions.add(german[0], facts())
    assert os.listdir(tmp_path / "home" / "models") == []


def test_rollback_skips_deleted_versions(versions, bundles):
    first, second, third = (versions.add(bundle, facts()).id for bundle in bundles)
    for version in (first, second, third):
        versions.promote(version)
    versions.delete(second)
    assert versions.rollback().id == first


def test_current_built_in_and_unknown_versions_cannot_be_deleted(versions, bundles):
    added = versions.add(bundles[0], facts()).id
    versions.promote(added)
    with pytest.raises(VersionInUse, match="in use"):
        versions.delete(added)
    with pytest.raises(VersionInUse, match="built-in"):
        versions.delete(BUILT_IN)
    for unknown in ("0" * 12, "../../etc", "", "current.json"):
        with pytest.raises(UnknownVersion):
            versions.promote(unknown)
        with pytest.raises(UnknownVersion):
            versions.delete(unknown)
    assert versions.current.id == added


def test_a_missing_version_falls_back_to_the_built_in_captioner(versions, bundles):
    added = versions.add(bundles[0], facts())
    versions.promote(added.id)
    shutil.rmtree(added.bundle.parent)
    assert versions.current.id == BUILT_IN and [version.id for version in versions.all()] == [BUILT_IN]
    assert versions.add(bundles[0], facts("again")).facts["name"] == "again", "it may be added again"
    assert versions.current.id == added.id


def test_old_leftovers_of_a_killed_process_are_removed(versions, tmp_path):
    for name in (".add-old", ".gone-old", ".add-new"):
        (tmp_path / "home" / "models" / name).mkdir()
    past = time.time() - ABANDONED_SECONDS - 1
    for name in (".add-old", ".gone-old"):
        os.utime(tmp_path / "home" / "models" / name, (past, past))
    versions.remove_leftovers()
    assert {path.name for path in (tmp_path / "home" / "models").iterdir() if path.is_dir()} == {".add-new"}


def test_only_the_latest_promotions_are_remembered(versions, bundles, monkeypatch):
    monkeypatch.setattr(service.store.versions, "_HISTORY", 3)
    first, second, _ = (versions.add(bundle, facts()).id for bundle in bundles)
    for _ in range(3):
        versions.promote(first)
        versions.promote(second)
    assert [versions.rollback().id for _ in range(3)] == [first, second, BUILT_IN]


def test_concurrent_promotions_lose_no_change(versions, open_versions, database, bundles):
    ids = [versions.add(bundle, facts()).id for bundle in bundles[:2]]
    others = [open_versions() for _ in range(4)]

    def promote(handle):
        for number in range(25):
            handle.promote(ids[number % 2])

    threads = [threading.Thread(target=promote, args=(handle,)) for handle in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        history = list(session.scalars(select(PromotionRow.version).order_by(PromotionRow.sequence)))
    assert set(history) == set(ids)
    assert all(earlier != later for earlier, later in zip(history, history[1:], strict=False))


KILLED = """
import sys
from pathlib import Path
from service.store.database import Database
from service.store.versions import Versions
versions = Versions(Database(sys.argv[1], Path(sys.argv[2])), Path(sys.argv[2]), Path(sys.argv[3]))
print("ready", flush=True)
while True:
    for bundle in sys.argv[4:]:
        version = versions.add(Path(bundle), {"name": "x", "origin": "upload"}).id
        versions.promote(version)
        print(version, flush=True)
        versions.rollback()
        versions.delete(version)
"""


@pytest.mark.stress
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.23])
def test_versions_are_complete_whenever_a_process_is_killed(versions, bundles, tmp_path, database_settings, seconds):
    home = tmp_path / "home"
    url = Settings(home=home, **database_settings).database.render_as_string(hide_password=False)
    command = [sys.executable, "-c", KILLED, url, str(home), str(DEFAULT_BUNDLE), *map(str, bundles)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n" and len(process.stdout.readline()) == 13
        time.sleep(seconds)
        process.kill()
    for version in versions.all()[:-1]:
        source = bundles[0]
        assert {path.name for path in version.bundle.iterdir()} == {path.name for path in source.iterdir()}
        for path in version.bundle.iterdir():
            assert path.stat().st_size == (source / path.name).stat().st_size
    assert versions.current.id in {version.id for version in versions.all()}
    added = versions.add(bundles[0], facts()).id  # no lock is left behind
    assert versions.promote(added).id == versions.current.id


def test_the_imports_of_a_new_version_can_be_made_ahead():
    program = """
import sys
from service.store import versions
before = "torch" in sys.modules
versions.prepare_to_add()
print(before, "torch" in sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["False", "True"]
