import pytest

from disk_cache_files import cache_in


@pytest.fixture
def cache(tmp_path_factory):
    """The folder of a disk cache that is on for one test."""
    with cache_in(tmp_path_factory.mktemp("cache")) as folder:
        yield folder
