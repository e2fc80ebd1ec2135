"""Weights that come with Voxray are those that the catalog names."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cluster.catalog.entries import SHIPPED_FILE, ShippedSource, read_entries
from cluster.catalog.store import hash_file

pytestmark = pytest.mark.unit


def test_shipped_files_have_the_hashes_of_the_catalog() -> None:
    shipped = [entry for entry in read_entries(SHIPPED_FILE).values() if isinstance(entry.source, ShippedSource)]
    assert shipped
    for entry in shipped:
        assert isinstance(entry.source, ShippedSource)
        for file in entry.files:
            path = entry.source.place / file.path
            assert path.stat().st_size == file.bytes_
            assert hash_file(path) == file.sha256


@pytest.mark.parametrize("folder", ["/etc", "../secrets", "a/../../b"])
def test_folder_outside_of_the_installation_is_refused(folder: str) -> None:
    with pytest.raises(ValidationError, match="inside the installation"):
        ShippedSource.model_validate({"type": "shipped", "folder": folder})
