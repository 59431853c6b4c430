"""Tiny data sets for the tests of the readers, and short forms for positions of problems."""

from PIL import Image


def photo(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def positions(data, kind):
    return [problem.position for problem in data.problems if problem.kind == kind]


def by_name(data):
    return {record.path.name: record for record in data.records}
