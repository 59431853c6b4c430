"""Names of exported files stay inside their folder and are used once."""

import pytest

from captioner.exports.names import SidecarNames, UniqueNames, archive_name, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.jpg", "a.jpg"), ("deep/er/a.jpg", "deep/er/a.jpg"), ("../../etc/a.jpg", "etc/a.jpg"),
        ("/etc/a.jpg", "etc/a.jpg"), ("a/../../b.jpg", "a/b.jpg"), ("./a//b.jpg", "a/b.jpg"), ("..", "photo"),
        ("...jpg", "...jpg"), ("a\nb.jpg", "a\nb.jpg"),
    ],
)  # fmt: skip
def test_no_name_leaves_its_folder(name, safe):
    assert safe_name(name) == archive_name(name) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("..\\..\\a.jpg", "a.jpg"), ("deep\\a.jpg", "deep/a.jpg"), ("C:\\Users\\a.jpg", "Users/a.jpg"),
        ("C:..\\a.jpg", "a.jpg"), ("\\\\host\\share\\a.jpg", "host/share/a.jpg"), ("caf\udce9.jpg", "caf\\udce9.jpg"),
    ],
)  # fmt: skip
def test_no_member_of_an_archive_leaves_its_folder_on_windows(name, safe):
    assert archive_name(name) == safe


def test_repeated_names_are_numbered_regardless_of_case():
    names = UniqueNames()
    given = [names.number(name) for name in ("a.jpg", "A.jpg", "b/a.jpg", "a.jpg", "a-2.jpg", "a", "a")]
    assert given == ["a.jpg", "A-2.jpg", "b/a.jpg", "a-3.jpg", "a-2-2.jpg", "a", "a-2"]


def test_ten_thousand_equal_names_are_numbered_in_one_pass():
    names = UniqueNames()
    assert [names.number("a.jpg") for _ in range(10_000)][-1] == "a-10000.jpg"


def test_the_second_photo_of_a_name_has_a_sidecar_of_its_whole_name():
    sidecars = SidecarNames(".txt")
    photos = ("a.jpg", "a.png", "deep/a.jpg", "A.webp", "b.v2.jpg", "no extension", "a.png")
    assert [sidecars.name(photo) for photo in photos] == [
        "a.txt", "a.png.txt", "deep/a.txt", "A.webp.txt", "b.v2.txt", "no extension.txt", "a.png-2.txt",
    ]  # fmt: skip
