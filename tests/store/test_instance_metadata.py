"""The metadata service of Amazon's machines is asked on those, nowhere else."""

from __future__ import annotations

import pytest

from napari_omezarr.store.sign_in import knows_instance_metadata


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("devices/virtual/dmi/id/sys_vendor", "Amazon EC2\n", True),
        ("devices/virtual/dmi/id/bios_vendor", "Amazon EC2\n", True),
        ("devices/virtual/dmi/id/product_version", "4.11.amazon", False),
        ("devices/virtual/dmi/id/product_version", "Amazon", True),
        ("hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef", True),
        ("hypervisor/uuid", "00000000-9099-7caf-fd21-012345abcdef", False),
        ("devices/virtual/dmi/id/sys_vendor", "LENOVO\n", False),
    ],
)
def test_the_hardware_tells(tmp_path, file, text, expected):
    assert not knows_instance_metadata({}, tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert knows_instance_metadata({}, tmp_path) == expected
    assert not knows_instance_metadata({"AWS_EC2_METADATA_DISABLED": "true"}, tmp_path)


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_EC2_METADATA_DISABLED": "false"},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_the_person_may_insist(tmp_path, environment):
    assert knows_instance_metadata(environment, tmp_path)
