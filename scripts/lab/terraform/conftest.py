"""AWS as moto plays it, and the relay's module in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aws import AMI_PARAMETER, MISSING, Aws, Project, account, moto_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without terraform nothing can be shown, and the summary says so loudly."""
    if MISSING:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="no terraform or no schema: NOTHING about the relay's module was tested"))


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where moto answers."""
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def aws(moto: str, tmp_path: Path) -> Aws:
    """An empty account."""
    made = account(moto, tmp_path)
    image = made.client("ec2").describe_images()["Images"][0]["ImageId"]
    made.client("ssm").put_parameter(Name=AMI_PARAMETER, Type="String", Value=image)
    return made


@pytest.fixture
def project(aws: Aws, tmp_path: Path) -> Project:
    """A project in the empty account."""
    return Project(tmp_path, aws.environment)
