"""The pages of collections: photos are dropped, captioned, corrected with the keyboard, and taken to training."""

import io
import re
import zipfile
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect
from sqlalchemy import update

import captioner
from service.settings import Settings
from service.store.tables import CollectionPhotoRow as Row
from tests.support.collections import make_collection
from tests.support.photo_sets import photo_bytes, zipped
from tests.support.serving import Running, serving
from tests.support.visits import EXAMPLES, PHONE, check_accessible, check_fits, heat_pixels, screenshot

MANY = 300
FIRST = 8
"""Photos in the first part of an upload."""


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0, device="cpu")
    with serving(settings, captioner.load(device="cpu")) as service:
        yield service


def payloads() -> list[FilePayload]:
    """The example photos at a small size, and a file that is no photo."""
    files: list[FilePayload] = []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        buffer = io.BytesIO()
        with Image.open(path) as photo:
            photo.convert("RGB").resize((320, 240)).save(buffer, "JPEG")
        files.append({"name": path.name, "mimeType": "image/jpeg", "buffer": buffer.getvalue()})
    return [*files, {"name": "page.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}]


def drawn_photos(count: int) -> list[FilePayload]:
    return [
        {"name": f"{number:02}.jpg", "mimeType": "image/jpeg", "buffer": photo_bytes(number)} for number in range(count)
    ]


@pytest.fixture
def console() -> str | None:
    """The text that messages of the console must have; None allows no messages."""
    return None


@pytest.fixture
def page(visit, running, console) -> Page:
    """The page of a captioned collection."""
    page = visit("/collections", running.client, console)
    page.locator("#file").set_input_files(payloads())
    expect(page).to_have_url(re.compile("/collections/[0-9a-f]{32}$"))
    expect(page.locator("#progress-text")).to_contain_text("1 failed")
    expect(page.locator("#progress-text")).not_to_contain_text("to go")
    return page


def set_confidences(running: Running, page: Page) -> None:
    """Give three photos confidences that do not depend on the captioner, take those of the others, and show them."""
    with running.service.collections.changing(page.url.split("/")[-1]) as (session, collection):
        session.execute(update(Row).where(Row.collection == collection.id).values(confidence=None))
        for number, confidence in enumerate((0.9, 0.1, 0.6), 1):
            photo = Row.collection == collection.id, Row.number == number
            session.execute(update(Row).where(*photo).values(confidence=confidence))
    page.reload()
    expect(cells(page)).to_have_count(len(payloads()))


def cells(page: Page):
    return page.locator(".cell-photo")


def texts(page: Page) -> list[str]:
    return page.locator(".cell-photo textarea").evaluate_all("nodes => nodes.map((node) => node.value)")


def test_photos_are_captioned_and_the_page_survives_a_reload(page, running):
    count = len(payloads())
    expect(cells(page)).to_have_count(count)
    before = texts(page)
    assert sum(map(bool, before)) == count - 1
    failed = page.locator('.cell-photo[data-state="failed"]')
    expect(failed).to_contain_text("a PDF document")
    set_confidences(running, page)
    expect(page.locator(".sureness")).to_have_text(["sure", "a guess", "likely right"])
    assert "%" not in page.locator("#grid").inner_text()
    check_accessible(page)
    check_fits(page)
    screenshot(page, "collection")
    page.reload()
    expect(cells(page)).to_have_count(count)
    assert texts(page) == before


def test_texts_before_the_photos_of_a_folder_do_not_stop_it(visit, running):
    """A request takes a hundred files: one of texts alone is refused."""
    texts = [{"name": f"{n:03}.txt", "mimeType": "text/plain", "buffer": b"a dog runs"} for n in range(101)]
    page = visit("/collections", running.client, "422")
    page.locator("#file").set_input_files([*texts, *payloads()[:2]])
    expect(page).to_have_url(re.compile("/collections/[0-9a-f]{32}$"))
    expect(page.locator("#progress-text")).to_contain_text("2 photos")
    page = visit("/collections", running.client, "422")
    page.locator("#file").set_input_files(texts)
    expect(page.locator("#send-problem")).to_contain_text("no photos in the request")


def test_captions_are_corrected_with_the_keyboard_alone(page):
    first, second = (cells(page).nth(index).locator("textarea") for index in (0, 1))
    original = first.input_value()
    first.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("a first caption")
    page.keyboard.press("Escape")
    expect(first).to_have_value(original)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("a first caption")
    page.keyboard.press("Enter")
    expect(second).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("a second")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line")
    page.keyboard.press("Enter")
    expect(page.locator("#progress-text")).to_contain_text("2 corrected")
    page.reload()
    expect(cells(page).nth(0).locator("textarea")).to_have_value("a first caption")
    expect(cells(page).nth(1).locator("textarea")).to_have_value("a second\nline")


def test_a_caption_that_is_only_looked_at_stays_as_it_is(page, running):
    url = f"/api{page.url.removeprefix(running.url.rstrip('/'))}/photos/1"
    caption = 'two lines,\r\n  "quoted"\rand a third'
    running.client.patch(url, json={"caption": caption, "version": 0}).raise_for_status()
    page.reload()
    first, second = (cells(page).nth(index).locator("textarea") for index in (0, 1))
    expect(first).to_have_value('two lines,\n  "quoted"\nand a third')
    first.focus()
    page.keyboard.press("Enter")
    expect(second).to_be_focused()
    second.blur()
    photo = running.client.get(url).json()
    assert (photo["caption"], photo["version"]) == (caption, 1)


def test_what_is_typed_while_a_caption_is_stored_is_stored_as_well(page):
    text, held = cells(page).first.locator("textarea"), []
    page.route("**/photos/*", lambda route: route.continue_() if held else held.append(route))
    text.fill("a dog")
    with page.expect_request(lambda request: request.method == "PATCH"):
        text.press("Enter")
    text.press_sequentially(" and a cat")
    with page.expect_response(lambda answer: " and a cat" in (answer.request.post_data or "")):
        held[0].continue_()
    expect(text).to_have_value("a dog and a cat")
    page.reload()
    expect(cells(page).first.locator("textarea")).to_have_value("a dog and a cat")


def test_an_edit_is_undone(page):
    first = cells(page).nth(0).locator("textarea")
    original = first.input_value()
    first.fill("something else")
    first.press("Enter")
    expect(page.locator("#progress-text")).to_contain_text("1 corrected")
    page.get_by_role("button", name="Undo").click()
    expect(first).to_have_value(original)
    expect(page.locator("#progress-text")).not_to_contain_text("corrected")


def test_two_people_who_edit_one_caption_lose_nothing(visit, running, page):
    page_of_other = visit(page.url.removeprefix(running.url.rstrip("/")), running.client, expected="409")
    mine, theirs = (cells(one).nth(0).locator("textarea") for one in (page_of_other, page))
    expect(mine).not_to_have_value("")
    theirs.fill("what they wrote")
    theirs.press("Enter")
    expect(page.locator("#progress-text")).to_contain_text("1 corrected")
    mine.fill("what I wrote")
    mine.press("Enter")
    cell = cells(page_of_other).nth(0)
    expect(cell).to_contain_text("Someone else wrote: “what they wrote”")
    expect(mine).to_have_value("what I wrote")
    check_accessible(page_of_other)
    cell.get_by_role("button", name="Keep mine").click()
    expect(cell).not_to_contain_text("Someone else")
    page.reload()
    expect(cells(page).nth(0).locator("textarea")).to_have_value("what I wrote")


def test_photos_are_searched_and_replaced_in(page):
    for index, text in enumerate(("a red kite", "a red boat", "a green kite")):
        box = cells(page).nth(index).locator("textarea")
        box.fill(text)
        box.press("Enter")
        expect(page.locator("#progress-text")).to_contain_text(f"{index + 1} corrected")
    page.locator("#search").fill("KITE red")
    expect(cells(page)).to_have_count(1)
    page.locator("#search").fill("")
    page.locator("#show").select_option("corrected")
    expect(cells(page)).to_have_count(3)
    page.locator("#show").select_option("all")
    page.get_by_role("button", name="Search and replace").click()
    page.locator("#replace-search").fill("red")
    page.locator("#replace-with").fill("blue")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#replace-list ins")).to_have_text(["a blue kite", "a blue boat"])
    check_accessible(page)
    screenshot(page, "collection-replace")
    page.get_by_role("button", name="Replace in 2 captions").click()
    expect(cells(page).nth(1).locator("textarea")).to_have_value("a blue boat")
    page.get_by_role("button", name="Undo").click()
    expect(cells(page).nth(1).locator("textarea")).to_have_value("a red boat")


def test_a_long_upload_fills_the_page_of_the_collection_and_can_be_stopped(visit, running):
    page = visit("/collections", running.client)
    files = drawn_photos(FIRST + 4)
    route = "**/api/collections/*/photos"
    held = []
    page.route(route, lambda request: held.append(request) if request.request.method == "POST" else request.continue_())
    page.locator("#file").set_input_files(files)
    expect(page.locator('.cell-photo[data-state="captioned"]')).to_have_count(FIRST)
    expect(page.locator("#sending-text")).to_contain_text(f"Sending {len(files)} files · {FIRST} sent")
    check_accessible(page)
    screenshot(page, "collection-sending")

    page.locator("#name").click()  # the browser asks only people who have done something on the page
    questions = []
    page.on("dialog", lambda dialog: (questions.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)  # the question is answered with no
    page.get_by_role("button", name="Stop sending").click()
    expect(page.locator("#problem")).to_contain_text(f"The upload was stopped. {FIRST} of {len(files)} files were sent")
    expect(page.locator("#sending")).to_be_hidden()
    assert questions == ["beforeunload"]
    page.unroute(route)
    page.locator("#file").set_input_files(files)
    expect(page.locator("#notice")).to_contain_text(f"{FIRST} photos were here already.")
    expect(cells(page)).to_have_count(len(files))

    page.go_back()
    expect(page.locator("#mine a").first).to_contain_text("Photos")
    page.go_forward()
    expect(cells(page)).to_have_count(len(files))


def test_a_collection_is_completed_after_its_tab_was_closed_while_it_sent(visit, running):
    page, files, held = visit("/collections", running.client), drawn_photos(FIRST + 4), []
    route = "**/api/collections/*/photos"
    page.route(route, lambda request: held.append(request) if request.request.method == "POST" else request.continue_())
    page.locator("#file").set_input_files(files)
    expect(page.locator('.cell-photo[data-state="captioned"]')).to_have_count(FIRST)
    context = page.context
    page.close()
    page = context.new_page()
    page.goto(f"{running.url.rstrip('/')}/collections")
    page.locator("#mine a").first.click()
    expect(cells(page).nth(FIRST - 1)).to_be_visible()
    page.locator("#file").set_input_files(files)
    expect(page.locator("#notice")).to_contain_text("photos were here already.")
    expect(cells(page)).to_have_count(len(files))


def test_files_that_are_no_photos_are_named(visit, running):
    page = visit("/collections", running.client)
    texts: list[FilePayload] = [
        {"name": f"{number}.txt", "mimeType": "text/plain", "buffer": b"a dog"} for number in range(12)
    ]
    page.locator("#file").set_input_files([*texts, *drawn_photos(1)])
    expect(page.locator("#notice")).to_have_text(
        f"Left out: {', '.join(f'{number}.txt (it is no photo, but a text)' for number in range(5))} and 7 other files."
    )
    expect(cells(page)).to_have_count(1)
    check_accessible(page)


@pytest.mark.parametrize("console", ["Failed to load resource"])
def test_the_page_of_a_deleted_collection_says_so_and_offers_nothing(visit, running, console):
    page = visit(f"/collections/{'0' * 32}", running.client, console)
    expect(page.locator("#problem")).to_contain_text("does not exist")
    expect(page.locator("#export-link")).to_be_hidden()
    expect(page.locator("#search")).to_be_hidden()
    check_accessible(page)


def test_guesses_are_shown_alone(page, running):
    set_confidences(running, page)
    page.locator("#show").select_option("guesses")
    expect(cells(page)).to_have_count(1)
    expect(cells(page).first).to_have_attribute("data-number", "2")


def test_a_photo_that_failed_can_be_given_a_caption(page):
    failed = page.locator('.cell-photo[data-state="failed"]')
    failed.locator("textarea").fill("a page of text")
    failed.locator("textarea").press("Enter")
    expect(page.locator("#progress-text")).to_contain_text("1 corrected")
    expect(failed).not_to_contain_text("PDF document")


def test_the_least_sure_photos_come_first_on_request(page, running):
    set_confidences(running, page)
    page.locator("#sort").select_option("confidence")
    expect(page.locator(".sureness")).to_have_text(["a guess", "likely right", "sure"])
    expect(cells(page).first).to_have_attribute("data-number", "2")


def test_captions_are_downloaded_as_chosen(page):
    page.locator("#export-corrected").check()
    expect(page.locator("#export-link")).to_be_hidden()
    first = cells(page).first.locator("textarea")
    first.fill("a red kite")
    first.press("Enter")
    page.locator("#export-prefix").fill("sks style, ")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "captions.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert [archive.read(name).decode() for name in archive.namelist()] == ["sks style, a red kite"]
    page.locator("#export-format").select_option("csv")
    expect(page.locator("#export-prefix")).to_be_hidden()


def test_many_photos_have_few_elements_and_scroll_to_the_last(visit, running):
    files = {f"{number}.jpg": photo_bytes(number) for number in range(MANY)}
    made = make_collection(running.service.collections, {"many.zip": zipped(files)}, "Many")
    running.service.collections.cancel(made.id)
    page = visit(f"/collections/{made.id}", running.client)
    expect(page.locator("#progress-text")).to_contain_text("300 photos")
    expect(cells(page).first).to_be_visible()
    assert cells(page).count() < 80
    page.evaluate("() => document.querySelector('#after-heading').scrollIntoView()")
    expect(page.locator(f'.cell-photo[data-number="{MANY}"]')).to_be_visible()
    page.get_by_role("button", name="Continue captioning").click()
    page.get_by_role("button", name="Stop captioning").click()
    expect(page.get_by_role("button", name="Continue captioning")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_phone_and_are_accessible(visit, running, scheme):
    made = make_collection(running.service.collections, {f"{n}.jpg": photo_bytes(n) for n in range(3)})
    for path in ("/collections", f"/collections/{made.id}"):
        page = visit(path, running.client, color_scheme=scheme, **PHONE)
        page.wait_for_load_state("networkidle")
        check_fits(page)
        check_accessible(page)
        screenshot(page, f"phone-{scheme}{path.replace('/', '-')[:12]}")


def test_a_word_lights_its_map_on_the_photo(page):
    cell = cells(page).first
    words, heat = cell.locator(".cell-words .word"), cell.locator(".cell-heat")
    cell.hover()
    words.first.hover()
    expect(heat).to_be_visible()
    first = heat_pixels(heat)
    assert first[..., 3].max() > 0
    check_accessible(page)
    screenshot(page, "collection-word")
    words.last.hover()
    assert (heat_pixels(heat) != first).any(), "another word, another map"
    page.mouse.move(0, 0)
    expect(heat).to_be_hidden()


def test_words_are_reached_with_the_keyboard(page):
    cell = cells(page).first
    words, heat = cell.locator(".cell-words .word"), cell.locator(".cell-heat")
    cell.locator("textarea").focus()
    expect(words.first).to_be_visible()
    page.keyboard.press("Shift+Tab")
    expect(words.first).to_be_focused()
    expect(heat).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(words.nth(1)).to_be_focused()
    page.keyboard.press("Tab")
    expect(cell.locator("textarea")).to_be_focused()
    expect(heat).to_be_hidden()


@pytest.mark.parametrize("console", ["Failed to load resource"])  # the words of a deleted photo
def test_a_collection_is_renamed_and_deleted_in_dialogs(page):
    page.locator("#rename").click()
    check_accessible(page)
    page.get_by_role("dialog").get_by_label("Name").fill("The coast")
    page.keyboard.press("Enter")
    expect(page.locator("#name")).to_have_text("The coast")
    page.locator("#delete").click()
    dialog = page.get_by_role("dialog", name="Delete “The coast”?")
    screenshot(page, "collection-delete")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    page.locator("#delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile("/collections$"))


@pytest.mark.parametrize("console", ["Failed to load resource"])  # the words of a deleted photo
def test_photos_that_someone_else_deletes_disappear(page, running):
    expect(cells(page)).to_have_count(len(payloads()))
    running.client.delete(f"/api{page.url.removeprefix(running.url.rstrip('/'))}/photos?number=2").raise_for_status()
    box = cells(page).first.locator("textarea")
    box.fill("what the page learns of the deletion by")
    box.press("Enter")
    expect(cells(page)).to_have_count(len(payloads()) - 1)
    expect(page.locator('.cell-photo[data-number="2"]')).to_have_count(0)
