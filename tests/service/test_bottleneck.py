"""The page about attention shows the figures of the bottleneck, if there are any."""

import json
import logging
import re

import pytest

from service import page
from service.bottleneck import HEIGHT, WIDTH, read_bottleneck
from tests.support.bottleneck_figures import bottleneck_table


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "BOTTLENECK", tmp_path / "bottleneck.json")
    return tmp_path / "bottleneck.json"


def test_single_and_joined_sentences_have_a_plot_each(file):
    file.write_text(json.dumps(bottleneck_table()))
    found = read_bottleneck(file)
    assert [plot.kind for plot in found.plots] == ["single", "joined"] and len(found.names) == 3
    assert found.ticks[0] == (0, HEIGHT) and found.ticks[-1] == (40, 0)
    single = found.plots[0]
    assert single.columns == (60, 180, 300) and all(0 < x < WIDTH for x in single.columns)
    attention, last, _ = single.lines
    assert attention.points == ((60, 5), (180, 17.5), (300, 42.5))  # 200 units are 40 BLEU
    assert all(high[1] < low[1] for high, low in zip(attention.points[1:], last.points[1:], strict=True))
    assert attention.band == ((60, 0), (180, 15), (300, 40), (300, 45), (180, 20), (60, 10))
    row = single.rows[2]
    assert (row.group, row.sentences, row.cost) == ("16-20", 100, 150.0)
    assert row.cells == ("31.5 (31.0 to 32.0)", "13.5 (13.0 to 14.0)", "9.0 (9.0 to 9.0)")


def test_the_page_has_a_plot_and_a_table_for_each_kind(client, file):
    file.write_text(json.dumps(bottleneck_table()))
    html = client.get("/attention").text
    section = html[html.index('<section id="bottleneck"') : html.index('<section aria-labelledby="example-heading"')]
    assert section.count("<polyline") == 6 and section.count("<table") == 2
    assert len(re.findall('<tr><th scope="row">', section)) == 5 and "31.5 (31.0 to 32.0)" in section
    assert re.findall(r"<span data-language>(\w+)</span>", section) == ["en", "de"] and "N × M" in section
    assert not re.search(r"\sstyle=|<script", section)


def test_the_page_has_no_such_section_without_figures(client, file, caplog):
    html = client.get("/attention").text
    assert 'id="example-heading"' in html and "bottleneck-heading" not in html
    assert not [record for record in caplog.records if record.name.startswith("service")]


def without(*names):
    table = bottleneck_table()
    del table["results"][names[0]][names[1]]
    return table


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        json.dumps(bottleneck_table() | {"results": {}}),
        json.dumps(bottleneck_table() | {"results": {"single": {"attention": [{}]}}}),
        json.dumps(bottleneck_table() | {"results": {"single": {"attention": []}}}),
        json.dumps(without("joined", "mean")),
        json.dumps(bottleneck_table()).replace("37", "NaN"),
        json.dumps(bottleneck_table()).replace("37", "370"),
        json.dumps(bottleneck_table()).replace("11-15", "12-15", 1),
    ],
)
def test_a_damaged_file_hides_the_section_and_is_logged(client, file, caplog, content):
    file.write_text(content)
    with caplog.at_level(logging.ERROR):
        response = client.get("/attention")
    assert response.status_code == 200 and "bottleneck-heading" not in response.text
    assert "copy table.json of the recipe again" in caplog.text
