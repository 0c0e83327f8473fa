"""Addresses in every Amazon region, compared with botocore's."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.session import Session

from recipe_api.storage.addresses import object_url, partition_of, public_base_url

KEY = "public/1795332567934-4f9a ä+~.jpg"


def regions() -> Iterator[tuple[str, str]]:
    session = Session()
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("s3", partition):
            yield partition, region


@pytest.mark.parametrize(("partition", "region"), tuple(regions()))
def test_addresses_equal_botocores_in_every_region(partition: str, region: str) -> None:
    client: Any = Session().create_client(
        "s3", region_name=region, config=Config(signature_version=UNSIGNED, s3={"addressing_style": "virtual"})
    )
    assert partition_of(region).name == partition
    for bucket in ("photos", "my.photos", "Old_Photos"):
        base_url = public_base_url(bucket=bucket, region=region, endpoint_url=None, override=None)
        expected = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": KEY})
        if region == "us-east-1":  # botocore still writes its old name, which leads there too
            expected = expected.replace("s3.amazonaws.com", "s3.us-east-1.amazonaws.com")
        assert object_url(KEY, base_url=base_url) == expected


def test_an_unknown_region_belongs_to_the_first_partition() -> None:
    assert partition_of("eu-nowhere-9").domain == "amazonaws.com"
