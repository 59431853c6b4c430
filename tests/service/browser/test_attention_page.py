"""The page that explains attention shows the numbers of the API, and recomputes the softmax."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from captioner.captioner import Captioner
from captioner.overlays import heat_map
from service import page as service_page
from stress.tiny_captioner import tiny_bundle
from tests.service.browser.test_heat import frame_of
from tests.service.browser.test_looks import PHONE, check_accessible, check_fits
from tests.support.bottleneck_figures import bottleneck_table
from tests.support.visits import DOGS, EXAMPLES, heat_pixels, screenshot

OPACITY = 0.65
STEPS = re.compile(r"/api/captions/[0-9a-f]{32}/steps")


@pytest.fixture
def document(shipped) -> dict:
    """A captioned photo, with two captions."""
    return create_caption(shipped)


@pytest.fixture
def steps(shipped, document) -> list[dict]:
    return steps_of(shipped, document)


@pytest.fixture
def open_page(visit, document) -> Callable[..., Page]:
    """Open the page with the caption, and wait until it shows its numbers."""

    def open_it(rank: int = 1, **options) -> Page:
        page = visit(f"/attention?caption={document['id']}&rank={rank}", **options)
        expect(page.locator("#steps")).to_be_visible()
        return page

    return open_it


@pytest.fixture
def page(open_page) -> Page:
    return open_page()


def create_caption(client: httpx.Client) -> dict:
    headers = {"Content-Type": "image/jpeg"}
    return client.post("/api/captions?captions=2", content=DOGS.read_bytes(), headers=headers).raise_for_status().json()


def steps_of(client: httpx.Client, document: dict, rank: int = 1) -> list[dict]:
    address = f"/api/captions/{document['id']}/steps?caption={rank}"
    return client.get(address).raise_for_status().json()["steps"]


def choose(page: Page, index: int) -> None:
    page.locator(".choice-word").nth(index).click()


def flat(step: dict, name: str) -> np.ndarray:
    return np.array(step[name]).ravel()


def softmax(scores: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp((scores - scores.max()) / temperature)
    return powers / powers.sum()


def label_of(index: int, columns: int) -> str:
    return f"row {index // columns + 1}, column {index % columns + 1}"


def per_cent(share: float) -> str:
    """Format a share as figures.js does."""
    value = 100 * share
    if 99.5 <= value < 100:
        return "over 99 %"
    if value >= 1:
        return f"{value:.0f} %" if value >= 10 else f"{value:.1f} %"
    return f"{float(f'{value:.2g}'):g} %"


def check_map(page: Page, canvas: str, values: np.ndarray, document: dict) -> None:
    opacities = heat_pixels(page.locator(canvas))[:, :, 3] / 255
    height, width = opacities.shape
    expected = heat_map(values.astype(np.float32), frame_of(document), (width, height))
    np.testing.assert_allclose(opacities, OPACITY * expected**0.75, atol=0.02)


def evaluate_module(page: Page, module: str, expression: str, *arguments) -> object:
    """Evaluate an expression of `module` and `arguments` with a module of the page."""
    script = f"""async (given) => {{
      const main = document.querySelector('script[src$="attention.js"]').src;
      const module = await import(new URL("{module}", main));
      return ((module, ...given) => {expression})(module, ...given);
    }}"""
    return page.evaluate(script, list(arguments))


@pytest.mark.parametrize("temperature", [0.25, 1, 4])
def test_the_softmax_of_the_page_equals_that_of_numpy(page, steps, temperature):
    for scores in (flat(steps[1], "scores"), np.array([1.0, 2.0, 3.0]), np.array([900.0, -900.0, 0.0])):
        weights = evaluate_module(page, "softmax.js", "module.softmax(...given)", scores.tolist(), temperature)
        np.testing.assert_allclose(weights, softmax(scores, temperature), atol=1e-9)
    at_one = evaluate_module(page, "softmax.js", "module.softmax(...given)", flat(steps[1], "scores").tolist())
    np.testing.assert_allclose(at_one, flat(steps[1], "weights"), atol=1e-5)


def test_figures_of_weights(page):
    assert evaluate_module(page, "softmax.js", "module.effectiveCount(given[0])", [0.25] * 4) == pytest.approx(4)
    assert evaluate_module(page, "softmax.js", "module.effectiveCount(given[0])", [0, 1, 0]) == pytest.approx(1)
    assert evaluate_module(page, "softmax.js", "module.largest(...given)", [3, 5, 5, 1], 3) == [1, 2, 0]
    assert evaluate_module(page, "softmax.js", "module.rescale(given[0])", [1, 3, 2]) == [0, 1, 0.5]
    assert evaluate_module(page, "softmax.js", "module.rescale(given[0])", [2, 2]) == [1, 1]


def test_a_word_shows_its_scores_and_weights(page, document, steps):
    columns = document["alphas"]["columns"]
    expect(page.locator(".choice-word")).to_have_text([step["word"] for step in steps])
    for index in (1, len(steps) - 1):
        choose(page, index)
        step, scores, weights = steps[index], flat(steps[index], "scores"), flat(steps[index], "weights")
        best, peak = int(scores.argmax()), int(weights.argmax())
        assert best == peak
        highest = f"{scores[best]:.2f}".replace("-", "−")
        text = f"For “{step['word']}”, the highest of {len(scores)} scores is {highest}, at {label_of(best, columns)}."
        expect(page.locator("#score-numbers")).to_contain_text(text)
        expect(page.locator("#score-bars .bar-label").first).to_have_text(label_of(best, columns))
        expect(page.locator("#score-bars .bar-figure").first).to_have_text(highest)
        expect(page.locator("#softmax-bars .bar-figure").first).to_have_text(per_cent(weights[peak]))
        expect(page.locator("#softmax-spread")).to_contain_text(
            f"The strongest location has {per_cent(weights[peak])} of the weight."
        )
        expect(page.locator("#reading")).to_contain_text(f"“{step['word']}”: most weight at {label_of(peak, columns)}")
        rescaled = (scores - scores.min()) / (scores.max() - scores.min())
        check_map(page, "#score-map", rescaled.reshape(-1, columns), document)
        check_map(page, "#softmax-map", weights.reshape(-1, columns), document)
    screenshot(page, "attention")


def test_the_temperature_sharpens_and_spreads_the_weights(page, document, steps):
    columns = document["alphas"]["columns"]
    choose(page, 2)
    scores = flat(steps[2], "scores")
    for temperature in (0.25, 4.0):
        page.locator("#temperature").fill(str(temperature))
        weights = softmax(scores, temperature)
        spread = np.exp(-(weights * np.log(np.maximum(weights, 1e-300))).sum())
        expect(page.locator("#temperature-value")).to_have_text(f"{temperature:.2f}")
        expect(page.locator("#softmax-spread")).to_have_text(
            f"The strongest location has {per_cent(weights.max())} of the weight."
            f" The weight is spread over {spread:.0f} of {len(weights)} locations."
        )
        check_map(page, "#softmax-map", weights.reshape(-1, columns), document)
        screenshot(page, f"attention-temperature-{temperature}", full_page=False)
    expect(page.locator("#read-list .read-weight").first).to_have_text(per_cent(flat(steps[2], "weights").max()))
    choose(page, 1)  # the temperature stays
    expect(page.locator("#temperature-value")).to_have_text("4.00")
    page.locator("#temperature-reset").click()
    expect(page.locator("#temperature")).to_have_value("1")
    check_map(page, "#softmax-map", flat(steps[1], "weights").reshape(-1, columns), document)
    page.locator("#temperature").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#temperature-value")).to_have_text("1.05")


def test_what_it_read_is_the_five_locations_with_the_largest_weights(page, document, steps):
    choose(page, 2)
    weights, columns = flat(steps[2], "weights"), document["alphas"]["columns"]
    order = np.argsort(-weights, kind="stable")[:5]
    labels = page.locator("#read-list .read-label").all_inner_texts()
    assert [label.split(": ")[1] for label in labels] == [label_of(index, columns) for index in order]
    assert page.locator("#read-list .read-weight").all_inner_texts() == [per_cent(weights[index]) for index in order]
    expect(page.locator("#read-numbers")).to_contain_text(
        f"z = {steps[2]['gate']:.2f} × ({weights[order[0]]:.3f} a₁ + "
    )
    expect(page.locator("#gate-numbers")).to_contain_text(f"is {steps[2]['gate']:.2f}.")
    assert page.locator("#read-list .crop").count() == 5
    for number in range(5):  # a part of the photo, not an empty picture
        pixels = heat_pixels(page.locator("#read-list .crop").nth(number))
        assert pixels[:, :, 3].any() and pixels[:, :, :3].std() > 5


def test_a_words_candidates_have_their_probabilities(page, steps):
    choose(page, 1)
    candidates = steps[1]["candidates"]
    labels = page.locator("#candidate-list .bar-label").all_inner_texts()
    assert len(candidates) == 5
    for label, candidate in zip(labels, candidates, strict=False):
        text = candidate["text"] or "end of the caption"
        assert label == (f"{text} (in the caption)" if candidate["text"] == steps[1]["word"] else text)
    expect(page.locator("#candidate-list .chosen")).to_have_count(1)


def test_a_word_that_is_no_candidate_is_added(page):
    candidates = [{"text": "cat", "probability": 0.5}, {"text": None, "probability": 0.2}]
    step = {"word": "dog", "probability": 0.1, "candidates": candidates}
    bars = evaluate_module(page, "step-view.js", "module.candidateBars(given[0])", step)
    assert [bar["label"] for bar in bars] == ["cat", "end of the caption", "dog (in the caption)"]
    assert [bar["figure"] for bar in bars] == ["50 %", "20 %", "10 %"]


def test_words_are_chosen_by_keyboard(page, steps):
    words, reading = page.locator(".choice-word"), page.locator("#reading")
    choose(page, 0)
    page.keyboard.press("ArrowRight")
    expect(words.nth(1)).to_be_focused()
    expect(words.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(words.nth(0)).to_have_attribute("aria-pressed", "false")
    expect(reading).to_contain_text(f"“{steps[1]['word']}”: ")
    page.keyboard.press("End")
    expect(words.last).to_be_focused()
    page.keyboard.press("ArrowRight")  # there is no next one
    expect(words.last).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Home")
    expect(words.first).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")  # the group is one tab stop
    expect(page.locator("#temperature")).to_be_focused()
    expect(reading).to_have_attribute("aria-live", "polite")


def test_the_matrix_has_a_row_for_each_word(page, steps):
    canvas = page.locator("#matrix-picture canvas")
    weights = np.array([flat(step, "weights") for step in steps])
    pixels = heat_pixels(canvas)
    assert pixels.shape[:2] == weights.shape
    brightness = pixels[:, :, :3].astype(int).sum(axis=2)
    assert brightness.flat[weights.argmax()] == brightness.max()
    assert brightness[weights < 0.01 * weights.max()].max() < brightness.max() / 4
    choose(page, 1)
    expect(page.locator(".matrix-word.active")).to_have_text(steps[1]["word"])
    page.get_by_text("The matrix as a table").click()
    rows = page.locator("#matrix-table tbody tr")
    expect(rows).to_have_count(len(steps))
    peak = int(weights[1].argmax())
    columns = len(steps[1]["weights"][0])
    expect(rows.nth(1).locator("td").first).to_have_text(f"{label_of(peak, columns)}: {per_cent(weights[1, peak])}")


SHOWN_MATRIX = """(() => {
  const [picture, table] = [document.createElement("div"), document.createElement("table")];
  module.showMatrix({ picture, table }, given[0]);
  module.markRow(picture, 1);
  const heads = [...picture.querySelectorAll(".matrix-heads span")].map((head) => head.textContent);
  const rows = [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  return { heads, rows, marked: picture.querySelector(".active").textContent };
})()"""


def test_the_matrix_takes_words_of_a_sentence_as_items(page):
    matrix = {
        "words": ["ein", "Hund"],
        "items": {"labels": ["a", "brown", "dog"], "noun": "word"},
        "weights": [[0.8, 0.15, 0.05], [0.1, 0.2, 0.7]],
    }
    shown = evaluate_module(page, "matrix.js", SHOWN_MATRIX, matrix)
    assert shown["heads"] == ["a", "brown", "dog"] and shown["marked"] == "Hund"
    assert shown["rows"] == [
        ["Word", "a", "brown", "dog"],
        ["ein", "80 %", "15 %", "5.0 %"],
        ["Hund", "10 %", "20 %", "70 %"],
    ]


def test_a_caption_on_the_main_page_links_its_numbers(visit, shipped, document):
    page = visit(f"/#{document['id']}")
    for rank in (2, 1):
        page.locator(".alternative").nth(rank - 1).click()
        for link in ("#steps-link", "#about-steps"):
            address = re.escape(f"/attention?caption={document['id']}&rank={rank}")
            expect(page.locator(link)).to_have_attribute("href", re.compile(f"{address}$"))
    page.locator(".alternative").nth(1).click()
    page.locator("#steps-link").click()
    expect(page.locator(".choice-word")).to_have_text([step["word"] for step in steps_of(shipped, document, rank=2)])
    page.locator("#caption-link").click()
    expect(page.locator("#words .word-text")).to_have_text([word["text"] for word in document["words"]])


def test_without_a_caption_the_page_captions_an_example_once(visit, shipped):
    page = visit("/attention")
    expect(page.locator("#steps")).to_be_visible()
    (caption_id,) = parse_qs(urlsplit(page.url).query)["caption"]
    texts = page.locator(".choice-word").all_inner_texts()
    assert " ".join(texts) == shipped.get(f"/api/captions/{caption_id}").json()["caption"]
    page.goto(str(shipped.base_url).rstrip("/") + "/attention")
    expect(page.locator("#steps")).to_be_visible()
    assert shipped.get("/api/captions").json()["total"] == 1
    page.locator("#example-list .example").nth(1).click()
    expect(page).not_to_have_url(re.compile(caption_id))
    expect(page.locator("#steps")).to_be_visible()
    assert shipped.get("/api/captions").json()["total"] == 2
    expect(page.locator("#example-list img")).to_have_count(len(list(EXAMPLES.glob("*.jpg"))))


def test_a_deleted_example_is_captioned_again(visit, shipped):
    page = visit("/attention", expected="Failed to load resource")
    expect(page.locator("#steps")).to_be_visible()
    (caption_id,) = parse_qs(urlsplit(page.url).query)["caption"]
    shipped.delete(f"/api/captions/{caption_id}").raise_for_status()
    page.goto(str(shipped.base_url).rstrip("/") + "/attention")
    expect(page.locator("#steps")).to_be_visible()
    expect(page.locator("#problem")).to_be_empty()


@pytest.mark.parametrize("caption_id", ["0" * 32, "no id", "../captions"])
def test_a_wrong_address_is_a_problem_and_examples_remain(visit, caption_id):
    page = visit(f"/attention?caption={caption_id}", expected="Failed to load resource")
    expect(page.locator("#problem .problem")).to_be_visible()
    expect(page.locator("#loading")).to_be_hidden()
    expect(page.locator("#steps")).to_be_hidden()
    check_accessible(page)
    page.locator("#example-list .example").first.click()
    expect(page.locator("#steps")).to_be_visible()
    expect(page.locator("#problem")).to_be_empty()


def test_a_caption_of_another_captioner_says_what_to_do(visit, document):
    page = visit("/retrain", expected="Failed to load resource")
    detail = "Caption the photo again, says the test."
    body = json.dumps({"title": "Conflict", "status": 409, "detail": detail})
    page.route(STEPS, lambda route: route.fulfill(status=409, content_type="application/problem+json", body=body))
    page.goto(f"{urlsplit(page.url)._replace(path='/attention', query='caption=' + document['id']).geturl()}")
    expect(page.locator("#problem[role=alert]")).to_have_text(detail)
    screenshot(page, "attention-problem")


def test_without_attention_the_page_says_so(visit, start, tiny_config):
    bundle = tiny_bundle(config=replace(tiny_config, attention="none"))
    client = start(Captioner(bundle, "cpu")).client
    page = visit(f"/attention?caption={create_caption(client)['id']}", client)
    expect(page.locator("#steps")).to_be_visible()
    expect(page.get_by_text("This captioner has no attention, so it has no scores.")).to_be_visible()
    for hidden in ("#score-figures", "#temperature-control"):
        expect(page.locator(hidden)).to_be_hidden()
    expect(page.locator("#softmax-spread")).to_contain_text("spread over 4 of 4 locations")
    check_accessible(page)


@pytest.mark.parametrize("hard_context", ["likeliest", "expected"])
def test_the_page_says_what_hard_attention_read(visit, start, tiny_config, hard_context):
    bundle = tiny_bundle(config=replace(tiny_config, attention="hard"))
    bundle = replace(bundle, decoding=replace(bundle.decoding, hard_context=hard_context))
    client = start(Captioner(bundle, "cpu")).client
    document = create_caption(client)
    page = visit(f"/attention?caption={document['id']}", client)
    expect(page.locator("#steps")).to_be_visible()
    reads_one = hard_context == "likeliest"
    expect(page.get_by_text("it reads the one location with the largest weight")).to_be_visible(visible=reads_one)
    expect(page.get_by_text("but for captions it reads the sum")).to_be_visible(visible=not reads_one)
    expect(page.locator("#read-numbers")).to_have_text(re.compile("× a₁$" if reads_one else r"× \(0\.\d+ a₁ \+ "))
    page = visit("/", client)
    expect(page.locator("#model")).not_to_be_empty()
    hint = page.locator("[data-attention=hard]")
    assert (hint.get_attribute("hidden") is None) == reads_one


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desktop", "phone"])
def test_the_page_fits_its_screen_and_is_accessible(open_page, screen, scheme):
    page = open_page(color_scheme=scheme, **screen)
    choose(page, 2)
    page.get_by_text("The matrix as a table").click()
    check_fits(page)
    check_accessible(page)
    page.evaluate("() => scrollTo(0, 0)")
    screenshot(page, f"attention-{'phone' if screen else 'desktop'}-{scheme}")


def test_forced_colours_mark_the_chosen_word(open_page):
    page = open_page(forced_colors="active")
    choose(page, 1)
    style = page.locator(".choice-word").nth(1).evaluate("word => getComputedStyle(word).outlineStyle")
    assert style == "solid"
    screenshot(page, "attention-forced-colours")


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_the_measured_bottleneck_fits_and_is_accessible(visit, tmp_path, monkeypatch, options):
    file = tmp_path / "bottleneck.json"
    file.write_text(json.dumps(bottleneck_table()))
    monkeypatch.setattr(service_page, "BOTTLENECK", file)
    page = visit("/attention", **options)
    expect(page.locator("#bottleneck")).to_contain_text("translate from English to German in several ways")
    expect(page.get_by_role("img", name="Single sentences")).to_be_visible()
    joined = page.get_by_role("group").filter(has_text="joined to one as a table")
    expect(joined.get_by_role("table")).to_be_hidden()
    joined.locator("summary").click()
    cell = joined.get_by_role("row").filter(has=page.get_by_role("rowheader", name="over 30")).get_by_role("cell")
    expect(cell).to_contain_text(["100", "35.0 (35.0 to 35.0)", "7.5 (7.0 to 8.0)", "5.5 (5.0 to 6.0)", "150"])
    check_fits(page)
    check_accessible(page)
    screenshot(page, f"bottleneck-{page.viewport_size['width']}")
