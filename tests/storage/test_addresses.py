"""Public addresses of objects."""

from urllib.parse import unquote, urlsplit

import pytest
from botocore.session import Session
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.storage.addresses import Partition, object_url, partition_of, public_base_url
from tests.support.examples import examples


@pytest.mark.parametrize(
    ("bucket", "region", "endpoint_url", "override", "expected"),
    [
        ("photos", "eu-central-1", None, None, "https://photos.s3.eu-central-1.amazonaws.com"),
        ("photos", "us-east-1", None, None, "https://photos.s3.us-east-1.amazonaws.com"),
        ("photos", "us-gov-west-1", None, None, "https://photos.s3.us-gov-west-1.amazonaws.com"),
        ("photos", "cn-north-1", None, None, "https://photos.s3.cn-north-1.amazonaws.com.cn"),
        ("my.photos", "eu-central-1", None, None, "https://s3.eu-central-1.amazonaws.com/my.photos"),
        ("my.photos", "cn-north-1", None, None, "https://s3.cn-north-1.amazonaws.com.cn/my.photos"),
        ("Old_Photos", "us-east-1", None, None, "https://s3.us-east-1.amazonaws.com/Old_Photos"),
        ("photos", "eusc-de-east-1", None, None, "https://photos.s3.eusc-de-east-1.amazonaws.eu"),
        ("photos", "", "http://127.0.0.1:8333", None, "http://127.0.0.1:8333/photos"),
        ("my.photos", "auto", "https://r2.example.com/", None, "https://r2.example.com/my.photos"),
        ("photos", "eu-central-1", None, "https://cdn.example.com", "https://cdn.example.com"),
        ("photos", "", "http://127.0.0.1:8333", "https://cdn.example.com/x/", "https://cdn.example.com/x"),
    ],
)
def test_a_bucket_has_one_public_address(
    bucket: str, region: str, endpoint_url: str | None, override: str | None, expected: str
) -> None:
    found = public_base_url(bucket=bucket, region=region, endpoint_url=endpoint_url, override=override)
    assert found == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("public/1795332567934-4f9a.jpg", "/public/1795332567934-4f9a.jpg"),
        ("a-b_c.d~e", "/a-b_c.d~e"),
        ("a b+c", "/a%20b%2Bc"),
        ("ä?#%", "/%C3%A4%3F%23%25"),
    ],
)
def test_a_key_is_escaped_except_for_its_slashes(key: str, expected: str) -> None:
    assert object_url(key, base_url="https://cdn.example.com") == f"https://cdn.example.com{expected}"


def test_every_amazon_region_is_in_the_same_partition_as_in_botocore() -> None:
    partitions = Session().get_data("endpoints")["partitions"]
    ours = {region: partition_of(region) for partition in partitions for region in partition["regions"]}
    assert len(ours) > 40
    assert ours == {
        region: Partition(partition["partition"], partition["dnsSuffix"])
        for partition in partitions
        for region in partition["regions"]
    }


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=examples(200))
def test_the_address_of_any_key_leads_to_its_object(key: str) -> None:
    parts = urlsplit(object_url(key, base_url="https://cdn.example.com"))
    assert (parts.netloc, parts.query, parts.fragment) == ("cdn.example.com", "", "")
    assert unquote(parts.path) == f"/{key}"
