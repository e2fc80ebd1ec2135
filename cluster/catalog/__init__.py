"""The model catalog: every weight file by name, with licence, source and hash.

Files are fetched once, checked and kept.
"""

from __future__ import annotations

from cluster.catalog.catalog import ModelCatalog
from cluster.catalog.errors import CatalogError
from cluster.catalog.progress import Progress, SilentProgress

__all__ = ["CatalogError", "ModelCatalog", "Progress", "SilentProgress"]
