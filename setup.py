"""The packages of a wheel, among them one that pyproject.toml cannot name.

The page of the service shows the photos of examples/, which lies beside the packages so that it is easy to find. In a
wheel they are service/examples.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["captioner*", "training*", "service*"]), "service.examples"],
    package_dir={"service.examples": "examples"},
)
