"""When something fails, the page shows the problem, keeps the photo, and offers a way to continue."""

from playwright.sync_api import Page, expect

from captioner.captioner import Captioner
from service.settings import Settings
from tests.support.pictures import picture_bytes
from tests.support.serving import serving
from tests.support.visits import EXAMPLES, away, caption, choose, screenshot, wait_for_caption

PHOTO = EXAMPLES / "coffee.jpg"
FAILED = "Failed to load resource"


def problem(page: Page):
    return page.locator("#problem[role=alert]")


def test_a_file_that_is_no_photo_shows_a_problem(visit, tmp_path):
    page, file = visit(expected=FAILED), tmp_path / "letter.jpg"
    file.write_text("Dear photo")
    choose(page, file)
    expect(problem(page)).to_contain_text("is not an image that can be read, but a text: give the photo itself")
    expect(page.locator("#no-preview")).to_have_text("This file cannot be shown.")
    expect(page.locator("#progress")).to_be_hidden()
    screenshot(page, "problem-no-photo", full_page=False)
    with page.expect_file_chooser() as chooser:
        problem(page).get_by_role("button", name="Another photo").click()
    away(page)  # away from the button, where the mouse would point at a word once the caption arrives
    chooser.value.set_files(PHOTO)
    wait_for_caption(page)
    expect(problem(page)).to_be_empty()


def test_a_file_that_is_too_large_is_not_sent(visit, start, tmp_path):
    page, file = visit(client=start(max_upload_mb=1).client), tmp_path / "large.png"
    file.write_bytes(picture_bytes(800, 700, kind="PNG"))
    expect(page.locator(".hint")).to_contain_text("Up to 1 MB")
    requests = []
    page.on("request", lambda request: requests.append(request.method))
    choose(page, file)
    expect(problem(page)).to_have_text("The photo has 1.7 MB, but the limit is 1 MB: make it smaller, or choose "
                                       "another.Another photo")  # fmt: skip
    assert "POST" not in requests
    expect(page.locator("#photo-image")).to_have_js_property("naturalWidth", 800)


def test_a_photo_can_be_sent_again_once_the_service_is_back(visit, tiny_bundle, tmp_path):
    captioner = Captioner(tiny_bundle, "cpu")
    with serving(Settings(home=tmp_path, port=0), captioner) as running:
        page = visit(client=running.client, expected=FAILED)
        expect(page.locator(".example")).to_have_count(7)
    choose(page, PHOTO)
    expect(problem(page)).to_contain_text("The service cannot be reached.")
    expect(page.locator("#photo-image")).to_have_js_property("naturalWidth", 600)
    screenshot(page, "problem-no-service", full_page=False)
    with serving(Settings(home=tmp_path, port=running.client.base_url.port), captioner):
        problem(page).get_by_role("button", name="Try again").click()
        wait_for_caption(page)
        expect(problem(page)).to_be_empty()


def test_an_interrupted_caption_shows_a_problem(visit):
    page = visit()
    first_event = 'event: word\ndata: {"index": 0, "text": "a", "probability": 1, "gate": 0.5, "map": [[1]]}\n\n'
    page.route(
        "**/api/captions?stream=1",
        lambda route: route.fulfill(body=first_event, headers={"Content-Type": "text/event-stream"}),
    )
    choose(page, PHOTO)
    expect(problem(page)).to_contain_text("The connection was lost before the caption was complete.")
    expect(page.locator(".word")).to_have_count(0)
    expect(page.locator("#tools")).to_be_hidden()


def refuse_captions(page: Page, times: int) -> list[str]:
    """Answer the next requests for a caption as a busy service does -> the list of these requests."""
    requests = []

    def answer(route):
        requests.append(route.request.url)
        if len(requests) > times:
            return route.continue_()
        detail = "Too many photos are waiting: send this one again in a moment."
        document = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": detail}
        return route.fulfill(
            status=503, json=document, headers={"Content-Type": "application/problem+json", "Retry-After": "2"}
        )

    page.route("**/api/captions?stream=1", answer)
    return requests


def test_a_busy_service_is_asked_again_automatically(visit):
    page = visit(expected=FAILED)
    requests = refuse_captions(page, times=1)
    choose(page, PHOTO)
    expect(problem(page)).to_contain_text("Too many photos are waiting")
    expect(problem(page)).to_contain_text("Trying again in 2 s.")
    screenshot(page, "problem-busy", full_page=False)
    wait_for_caption(page)
    assert len(requests) == 2


def test_a_service_that_stays_busy_is_asked_again_only_once(visit):
    page = visit(expected=FAILED)
    requests = refuse_captions(page, times=10)
    choose(page, PHOTO)
    expect(problem(page)).to_contain_text("Trying again in")
    expect(problem(page).locator(".problem-wait")).to_have_count(0)
    expect(problem(page)).to_contain_text("Too many photos are waiting")
    page.wait_for_timeout(2500)
    assert len(requests) == 2


def test_a_correction_that_cannot_be_saved_is_not_lost(visit):
    page = visit(expected=FAILED)
    caption(page, PHOTO)
    page.locator("#correct").click()
    page.locator("#correction-text").fill("a cup of espresso")
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.locator("#correction-problem")).to_contain_text("The service cannot be reached.")
    expect(page.locator("#correction-text")).to_have_value("a cup of espresso")
    page.context.set_offline(False)
    page.keyboard.press("Enter")
    expect(page.locator("#correction-now")).to_have_text("a cup of espresso")
    expect(page.locator("#correction-problem")).to_be_empty()


def test_the_url_of_a_missing_caption_shows_a_problem(visit):
    page = visit("/#" + "0" * 32, expected=FAILED)
    expect(page.locator("#start-problem[role=alert]")).to_contain_text("does not exist")
    expect(page.locator("#start")).to_be_visible()
    screenshot(page, "problem-no-caption", full_page=False)
