import pytest

from killed_saves import KilledSaves


@pytest.fixture(scope="module")
def killed_saves():
    """A process that saves, to be killed at some point of it."""
    with KilledSaves() as saves:
        yield saves
