"""README.md and the pages of docs/ agree with settings, files, addresses, modules and options."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in (README, *DOCS)}
CHANGELOG = ROOT / "CHANGELOG.md"
TEXTS = PAGES | {"CHANGELOG.md": CHANGELOG.read_text(encoding="utf-8")}
ALL = "\n".join(PAGES.values())

README_LINES, PAGE_LINES = 160, 250
FENCE = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
COMMANDS = ("captioner", "training", "service")
"""Modules whose options the pages show."""


def links(text: str) -> list[str]:
    """Return the targets of links and pictures, except those on other sites."""
    return re.findall(r"\]\((?!https?:)([^)]+)\)", FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    names: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE):
        anchor = name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while name in names:
            number += 1
            name = f"{anchor}-{number}"
        names.add(name)
    return names


def broken_links(name: str, text: str) -> list[str]:
    """Return the links of a page whose file or heading does not exist."""
    broken = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path
        if path and not target.is_file():
            broken.append(link)
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8") if path else text):
            broken.append(link)
    return broken


def commands() -> list[tuple[str, str, str]]:
    """Return page, module and arguments of each `python -m MODULE ...` in code, with continued lines joined."""
    lines = []
    for name, text in PAGES.items():
        joined = text.replace("\\\n", " ")
        for module, arguments in re.findall(r"(?<!pip )-m ([a-z_]+(?:\.[a-z_]+)*)([^\n`#|]*)", joined):
            lines.append((name, module, arguments))
    return lines


def test_every_setting_is_listed_with_its_description():
    from service.settings import descriptions

    rows = re.findall(r"^\| `(CAPTIONER_\w+)` \| (.*) \|$", PAGES["docs/configuration.md"], flags=re.MULTILINE)
    assert dict(rows) == descriptions()
    assert len(rows) == len(descriptions())


def test_every_setting_that_a_page_names_exists():
    from service.settings import descriptions

    assert set(re.findall(r"`(CAPTIONER_[A-Z_]*[A-Z])\b", ALL)) <= set(descriptions())


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_to_a_file_and_a_heading(name):
    assert broken_links(name, TEXTS[name]) == []


def test_every_link_leads_to_an_existing_file_and_heading():
    page = "# A page\n\n[1](missing.md) [2](#nowhere) [3](#a-page) [4](docs/api.md#errors) [5](https://x.org/a.md)"
    assert broken_links("README.md", page) == ["missing.md", "#nowhere"]


def test_the_readme_links_every_page():
    linked = {link.partition("#")[0] for link in links(PAGES["README.md"])}
    assert {str(path.relative_to(ROOT)) for path in (*DOCS, CHANGELOG)} <= linked


def test_pages_are_short():
    lengths = {name: len(text.splitlines()) for name, text in PAGES.items()}
    assert lengths.pop("README.md") <= README_LINES
    assert {name: length for name, length in lengths.items() if length > PAGE_LINES} == {}


def test_every_command_of_make_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named_targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", ALL, flags=re.MULTILINE))
    assert {"serve", "test", "test-quick", "audit"} <= named_targets <= targets


def test_every_module_that_a_page_runs_exists():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    run = {module for _, module, _ in commands() if module.split(".")[0] in packages}
    assert set(COMMANDS) <= run
    for module in run:
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


@pytest.mark.parametrize("module", COMMANDS)
def test_every_option_that_a_page_gives_a_command_exists(module, capsys):
    main = importlib.import_module(f"{module}.__main__").main
    subcommands = {
        "captioner": ("translate", "export"),
        "training": (
            "inspect",
            "fit",
            "evaluate",
            "compare",
            "calibrate",
            "fit-translator",
            "evaluate-translator",
        ),
        "service": ("worker", "models"),
    }
    options: dict[str, set[str]] = {}
    for command in ("", *subcommands.get(module, ())):
        with pytest.raises(SystemExit):
            main([*command.split(), "--help"])
        options[command] = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    command_lines = [(page, arguments) for page, name, arguments in commands() if name == module]
    assert command_lines
    for page, arguments in command_lines:
        command = next((word for word in arguments.split() if word in options), "")
        unknown = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", arguments)) - options[command]
        assert not unknown, f"{page}: {module} {arguments.strip()}"
