"""The environment, read and validated once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from annotated_types import Ge, Le
from pydantic import SecretStr, ValidationError

from recipe_api.settings import (
    MAX_PARTS,
    NAMES,
    PART_SIZE,
    ApiToken,
    DatabaseSettings,
    S3Settings,
    Settings,
    SettingsError,
    misspelled,
)
from recipe_api.units import GIB, MIB
from tests.support.authority import Authority

LEAST = {
    "DATABASE_URL": "postgres://cook:p4ncakes@db.example.com:5432/recipes",
    "S3_BUCKET": "photos",
    "AWS_REGION": "eu-central-1",
    "SECRET_KEY": "not-a-real-key-" * 3,
}
TOKEN, OTHER_TOKEN = "tests-only-token-1", "tests-only-token-2"
SECRET = "s3cr3t"


def settings_of(environ: Mapping[str, str] | None = None, **more: str) -> Settings:
    return Settings.from_environment({**LEAST, **(environ or {}), **more})


def complaint_about(environ: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ)
    assert caught.value.__cause__ is None, "pydantic's own error would be in the traceback"
    assert caught.value.__suppress_context__
    return str(caught.value)


def plain(value: object) -> object:
    """Return the value with its secrets revealed."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, ApiToken):
        return (plain(value.token), "upload") if value.upload_only else plain(value.token)
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def test_four_variables_are_enough() -> None:
    found = settings_of()
    assert (found.max_upload_bytes, found.port, found.log_level, found.cors_origins) == (64 * MIB, 8000, "info", ())
    assert (found.s3_key_prefix, found.s3_endpoint_url, found.public_base_url, found.api_tokens) == ("", None, None, {})
    assert (found.aws_access_key_id, found.aws_secret_access_key) == (None, None)


def test_a_command_for_the_database_alone_needs_no_other_variable() -> None:
    found = DatabaseSettings.from_environment({"DATABASE_URL": LEAST["DATABASE_URL"]})
    assert found.database_url.get_secret_value().endswith("@db.example.com:5432/recipes")


def test_a_command_for_the_object_store_alone_needs_only_its_variables() -> None:
    found = S3Settings.from_environment({"S3_BUCKET": "photos", "AWS_REGION": "eu-central-1"})
    assert (found.s3_bucket, found.aws_region) == ("photos", "eu-central-1")


@pytest.mark.parametrize(
    ("prefix", "staging"),
    [
        ("", "staged/"),
        ("staged", "staged/"),
        ("public/", "public/staged/"),
        ("public/", "thirteenchars-/"),
        ("", "twelve_chars-/"),
        ("", "fourteen_chars-/"),
    ],
)
def test_the_staging_prefix_may_be_below_the_key_prefix(prefix: str, staging: str) -> None:
    found = settings_of(S3_KEY_PREFIX=prefix, S3_STAGING_PREFIX=staging)
    assert (found.s3_key_prefix, found.s3_staging_prefix) == (prefix, staging)


@pytest.mark.parametrize("prefix", ["staged/", "staged/photos/"])
def test_the_staging_prefix_may_not_cover_the_key_prefix(prefix: str) -> None:
    assert "S3_STAGING_PREFIX staged/ covers" in complaint_about({**LEAST, "S3_KEY_PREFIX": prefix})


@pytest.mark.parametrize(("prefix", "staging"), [("", "thirteenchars-/"), ("public/", "public/thirteenchars-x/")])
def test_the_staging_prefix_may_not_look_like_a_photo_to_the_bucket_policy(prefix: str, staging: str) -> None:
    complaint = complaint_about({**LEAST, "S3_KEY_PREFIX": prefix, "S3_STAGING_PREFIX": staging})
    assert complaint.startswith("S3_STAGING_PREFIX: ")
    assert "hyphen" in complaint


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("DATABASE_POOL_SIZE", "20", 20),
        ("S3_BUCKET", "my.bucket-2", "my.bucket-2"),
        ("S3_BUCKET", "abc", "abc"),
        ("S3_BUCKET", "b" * 63, "b" * 63),
        ("S3_KEY_PREFIX", "public/", "public/"),
        ("S3_KEY_PREFIX", "a/b_c-d.e/f", "a/b_c-d.e/f"),
        ("S3_STAGING_PREFIX", "a/b_c-d.e/", "a/b_c-d.e/"),
        ("S3_ENDPOINT_URL", "http://127.0.0.1:8333", "http://127.0.0.1:8333"),
        ("S3_ENDPOINT_URL", "https://storage.example.com/", "https://storage.example.com"),
        ("S3_ENDPOINT_URL", "http://[::1]:8333", "http://[::1]:8333"),
        ("S3_CHECKSUM", "off", "off"),
        ("S3_CONDITIONAL_WRITES", "false", False),
        ("S3_CONDITIONAL_WRITES", "0", False),
        ("S3_CONDITIONAL_WRITES", "True", True),
        ("S3_ACL", "public-read", "public-read"),
        ("AWS_REGION", "us-gov-west-1", "us-gov-west-1"),
        ("AWS_SESSION_TOKEN", "session", "session"),
        ("PUBLIC_BASE_URL", "https://photos.example.com", "https://photos.example.com"),
        ("PUBLIC_BASE_URL", "https://cdn.example.com/photos//", "https://cdn.example.com/photos"),
        ("API_TOKENS", f"kitchen:{TOKEN}", {"kitchen": TOKEN}),
        ("API_TOKENS", f" kitchen : {TOKEN} ,, phone:{OTHER_TOKEN},", {"kitchen": TOKEN, "phone": OTHER_TOKEN}),
        ("API_TOKENS", f"page : {TOKEN} : upload", {"page": (TOKEN, "upload")}),
        ("ALLOW_INSECURE_TOKENS", "true", True),
        ("REFUSE_CROSS_SITE_FORMS", "never", "never"),
        ("CORS_ORIGINS", "*", ("*",)),
        ("CORS_ORIGINS", "https://a.example, http://localhost:5173", ("https://a.example", "http://localhost:5173")),
        ("CORS_ORIGINS", "capacitor://localhost", ("capacitor://localhost",)),
        ("CORS_ORIGINS", "https://*.example.com:8443", ("https://*.example.com:8443",)),
        ("CORS_ORIGINS", "https://app-*.example.com", ("https://app-*.example.com",)),
        ("MAX_UPLOAD_BYTES", "1", 1),
        ("MAX_LABEL_BYTES", "65536", 65536),
        ("MAX_FORM_PARTS", "2", 2),
        ("BODY_IDLE_SECONDS", "0.5", 0.5),
        ("BODY_MIN_BYTES_PER_SECOND", "0", 0),
        ("MAX_CONCURRENT_UPLOADS", "1", 1),
        ("MAX_UPLOADS_PER_CLIENT", "7", 7),
        ("MAX_UPLOADS_PER_CLIENT_PER_MINUTE", "60", 60),
        ("MAX_BYTES_PER_CLIENT_PER_DAY", "1073741824", GIB),
        ("MAX_BYTES_PER_CLIENT_PER_DAY", "0", 0),
        ("UPLOAD_BUFFER_BYTES", "134217728", 128 * MIB),
        ("IDEMPOTENCY_KEY_SECONDS", "60", 60),
        ("PARTS_IN_FLIGHT", "16", 16),
        ("PHOTO_TYPES", "image/png , image/jpeg", ("image/png", "image/jpeg")),
        ("PHOTO_TYPES", "image/gif", ("image/gif",)),
        ("PHOTO_METADATA", "keep", "keep"),
        ("ROOT_PATH", "/api", "/api"),
        ("ROOT_PATH", "/kitchen/photos-v1.0~x", "/kitchen/photos-v1.0~x"),
        ("PORT", "5000", 5000),
        ("HTTP_PROTOCOL", "httptools", "httptools"),
        ("WEB_CONCURRENCY", "2", 2),
        ("FORWARDED_ALLOW_IPS", "*", "*"),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("LOG_LEVEL", "debug", "debug"),
    ],
)
def test_a_variable_sets_its_field(variable: str, value: str, expected: object) -> None:
    assert plain(getattr(settings_of({variable: value}), variable.lower())) == expected


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("k" * 32, ("k" * 32,)),
        (f"{'new' * 16} , {'old' * 16}", ("new" * 16, "old" * 16)),
    ],
)
def test_secret_keys_are_separated_by_commas(value: str, keys: tuple[str, ...]) -> None:
    assert plain(settings_of(SECRET_KEY=value).secret_keys) == keys


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://cook@db.example.com/recipes"),
        ("DATABASE_URL", "postgres://db.example.com"),
        ("DATABASE_URL", "postgres://db.example.com/"),
        ("DATABASE_URL", "recipes"),
        ("DATABASE_URL", "postgres://db.example.com/recipes?sslmode=perhaps"),
        ("DATABASE_URL", "postgres://db.example.com/recipes?hostaddr=192.0.2.1"),
        ("DATABASE_URL", "postgres://db.example.com/recipes?sslmode=verify-ca&sslrootcert=no-such-file"),
        ("DATABASE_URL", "postgres://db.example.com/recipes#1"),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "many"),
        ("S3_BUCKET", "ab"),
        ("S3_BUCKET", "b" * 64),
        ("S3_BUCKET", "photos/public"),
        ("S3_BUCKET", "-photos"),
        ("S3_BUCKET", "s3://photos"),
        ("S3_BUCKET", "phötos"),
        ("S3_BUCKET", "A_B"),
        ("S3_BUCKET", "my..photos"),
        ("S3_BUCKET", "192.168.5.4"),
        ("S3_KEY_PREFIX", "/public/"),
        ("S3_KEY_PREFIX", "public//"),
        ("S3_KEY_PREFIX", "public/../private/"),
        ("S3_KEY_PREFIX", "./"),
        ("S3_KEY_PREFIX", "with space/"),
        ("S3_KEY_PREFIX", "ä/"),
        ("S3_KEY_PREFIX", "a\nb"),
        ("S3_KEY_PREFIX", "p" * 513),
        ("S3_STAGING_PREFIX", "staged"),
        ("S3_STAGING_PREFIX", "/"),
        ("S3_STAGING_PREFIX", "/staged/"),
        ("S3_STAGING_PREFIX", "staged//"),
        ("S3_STAGING_PREFIX", "../"),
        ("S3_STAGING_PREFIX", "with space/"),
        ("S3_STAGING_PREFIX", "p" * 512 + "/"),
        ("S3_ENDPOINT_URL", "storage.example.com"),
        ("S3_ENDPOINT_URL", "ftp://storage.example.com"),
        ("S3_ENDPOINT_URL", "https://"),
        ("S3_ENDPOINT_URL", "https://[::1"),
        ("S3_ENDPOINT_URL", "https://storage.example.com:port"),
        ("S3_ENDPOINT_URL", "http://object_store:9000"),
        ("S3_ENDPOINT_URL", "http://storage..example.com"),
        ("S3_ENDPOINT_URL", f"http://{'s' * 64}"),
        ("S3_CHECKSUM", "md5"),
        ("S3_CONDITIONAL_WRITES", "perhaps"),
        ("S3_ACL", "private"),
        ("AWS_REGION", "eu central 1"),
        ("AWS_REGION", "eu-central-1.evil.example/"),
        ("PUBLIC_BASE_URL", "https://photos.example.com?x=y"),
        ("PUBLIC_BASE_URL", "https://photos.example.com#x"),
        ("PUBLIC_BASE_URL", "https://photos example.com"),
        ("PUBLIC_BASE_URL", "//photos.example.com"),
        ("PUBLIC_BASE_URL", "https://cook:p4ncakes@photos.example.com"),
        ("SECRET_KEY", "k" * 31),
        ("SECRET_KEY", "ä" * 32),
        ("SECRET_KEY", f"{'k' * 32},"),
        ("SECRET_KEY", f"{'k' * 32},{'o' * 31}"),
        ("SECRET_KEY", f"{'k' * 32},{'k' * 32}"),
        ("SECRET_KEY", "\udcff" * 32),  # bytes that are not UTF-8, as Python reads them from its environment
        ("API_TOKENS", TOKEN),
        ("API_TOKENS", f"kitchen:{TOKEN},phone"),
        ("API_TOKENS", f":{TOKEN}"),
        ("API_TOKENS", ","),  # would let anyone in
        ("API_TOKENS", " , ,"),
        ("API_TOKENS", "kitchen:not-a-real-token-1"),  # from .env.example
        ("API_TOKENS", f"kitchen:{TOKEN}:delete"),
        ("API_TOKENS", f"kitchen:{TOKEN}:with:colons"),
        ("API_TOKENS", f"kitchen:{TOKEN}:"),
        ("API_TOKENS", f"kitchen:{TOKEN}:upload:upload"),
        ("ALLOW_INSECURE_TOKENS", "perhaps"),
        ("REFUSE_CROSS_SITE_FORMS", "true"),
        ("API_TOKENS", "kitchen:"),
        ("API_TOKENS", "kitchen:fifteen-letters"),
        ("API_TOKENS", "kitchen:a token with spaces"),
        ("API_TOKENS", "kitchen:ein-schlüssel-mit-umlaut"),
        ("API_TOKENS", f"kitchen:{TOKEN},kitchen:{OTHER_TOKEN}"),
        ("API_TOKENS", f"kitchen:{TOKEN},phone:{TOKEN}"),
        ("CORS_ORIGINS", "https://a.example/"),
        ("CORS_ORIGINS", "https://a.example/path"),
        ("CORS_ORIGINS", "https://A.example"),  # browsers send it in lower case
        ("CORS_ORIGINS", "a.example"),
        ("CORS_ORIGINS", "*,null"),
        ("CORS_ORIGINS", "https://[::1"),
        ("CORS_ORIGINS", "https://*"),
        ("CORS_ORIGINS", "https://*.com"),
        ("CORS_ORIGINS", "https://*.*.example.com"),
        ("CORS_ORIGINS", "https://app.*.example.com"),
        ("CORS_ORIGINS", "https://app.example.com:*"),
        ("CORS_ORIGINS", "*://app.example.com"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "64 MiB"),
        ("MAX_UPLOAD_BYTES", str(MAX_PARTS * PART_SIZE + 1)),
        ("MAX_LABEL_BYTES", "65537"),
        ("MAX_FORM_PARTS", "1"),
        ("BODY_IDLE_SECONDS", "0"),
        ("BODY_IDLE_SECONDS", "nan"),
        ("BODY_IDLE_SECONDS", "inf"),
        ("BODY_MIN_BYTES_PER_SECOND", "-1"),
        ("MAX_CONCURRENT_UPLOADS", "0"),
        ("MAX_UPLOADS_PER_CLIENT", "0"),
        ("MAX_UPLOADS_PER_CLIENT_PER_MINUTE", "-1"),
        ("MAX_BYTES_PER_CLIENT_PER_DAY", str(64 * MIB - 1)),  # less than MAX_UPLOAD_BYTES
        ("MAX_BYTES_PER_CLIENT_PER_DAY", str(10**15)),
        ("UPLOAD_BUFFER_BYTES", "1"),
        ("IDEMPOTENCY_KEY_SECONDS", "1"),
        ("PARTS_IN_FLIGHT", "0"),
        ("PHOTO_TYPES", "image/svg+xml"),
        ("PHOTO_TYPES", "jpeg"),
        ("PHOTO_TYPES", "image/png\nimage/jpeg"),
        ("PHOTO_TYPES", ","),
        ("PHOTO_METADATA", "strip"),
        *(
            ("ROOT_PATH", path)
            for path in ("api", "/", "/api/", "//api", "/a//b", "/a b", "/ä", "/%61", "/a?b", "/a/..")
        ),
        ("ROOT_PATH", "/recipe"),
        ("ROOT_PATH", "https://example.com/api"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("HTTP_PROTOCOL", "h11"),
        ("WEB_CONCURRENCY", "0"),
        ("LOG_LEVEL", "verbose"),
    ],
)
def test_an_invalid_value_is_reported_in_one_line_that_begins_with_its_variable(variable: str, value: str) -> None:
    complaint = complaint_about({**LEAST, variable: value})
    assert complaint.startswith(f"{variable}: ")
    assert complaint.isprintable()


def test_types_whose_metadata_cannot_be_removed_require_that_it_is_kept() -> None:
    types = {"PHOTO_TYPES": "image/jpeg,image/tiff,application/octet-stream"}

    complaint = complaint_about({**LEAST, **types})

    assert complaint.startswith("PHOTO_TYPES contains image/tiff, application/octet-stream, whose metadata cannot be")
    assert "PHOTO_METADATA=keep" in complaint
    assert settings_of({**types, "PHOTO_METADATA": "keep"}).photo_types[1] == "image/tiff"


@pytest.mark.parametrize("variable", LEAST)
@pytest.mark.parametrize("value", [None, "", " \n"], ids=["absent", "empty", "blank"])
def test_a_missing_or_empty_variable_is_named(variable: str, value: str | None) -> None:
    environ = {name: value for name, value in {**LEAST, variable: value}.items() if value is not None}
    assert complaint_about(environ).startswith(f"{variable} is not set; ")


def test_missing_variables_share_one_sentence() -> None:
    assert complaint_about({"AWS_REGION": "x"}) == "DATABASE_URL, S3_BUCKET, SECRET_KEY are not set; see .env.example"


def test_all_missing_variables_are_reported_at_once() -> None:
    complaint = complaint_about({"AWS_ACCESS_KEY_ID": "x"})
    assert complaint == (
        "AWS_SECRET_ACCESS_KEY is not set, but AWS_ACCESS_KEY_ID is; set both or neither; AWS_REGION is not set; "
        "Amazon S3 requires the region of the bucket, such as eu-central-1; DATABASE_URL, S3_BUCKET, SECRET_KEY are "
        "not set; see .env.example"
    )


def test_all_errors_are_reported_at_once() -> None:
    complaint = complaint_about({"PORT": "0", "S3_BUCKET": "", "DATABASE_URL": "x", "SECRET_KEY": "k"})
    named = re.findall(r"(?:^|; )([A-Z][A-Z0-9_]+)(?=:| is not set)", complaint)
    assert sorted(named) == ["AWS_REGION", "DATABASE_URL", "PORT", "S3_BUCKET", "SECRET_KEY"]
    assert complaint.isprintable()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(
            ("DATABASE_URL", url)
            for url in [
                f"mysql://cook:{SECRET}@db.example.com/recipes",
                f"postgres://cook:{SECRET}@db.example.com",
                f"postgres://cook:{SECRET}@db.example.com:port/recipes",
                f"postgres://cook:{SECRET}/x@db.example.com/recipes",
                f"postgres://cook:1/{SECRET}?x=y@db.example.com/recipes",
                f"postgres://cook:1?{SECRET}@db.example.com/recipes",
                f"postgres://cook:1/x?{SECRET}=1@db.example.com/recipes",
                f"postgres://cook:1#{SECRET}@db.example.com/recipes",
                f"postgres://cook:@{SECRET}@db.example.com/recipes",
                f"postgres://cook:{SECRET}%ff@db.example.com/recipes",  # not UTF-8
                f"postgres://cook:{SECRET}%00@db.example.com/recipes",
                f"postgres://cook:{SECRET}@db.example.com/recipes?sslmode={SECRET}",
                f"{SECRET}",
            ]
        ),
        ("SECRET_KEY", SECRET),
        ("API_TOKENS", SECRET),
        ("API_TOKENS", f"{SECRET}:kitchen,{SECRET}:phone"),
        ("API_TOKENS", f"kitchen:{SECRET}"),
        ("API_TOKENS", f"{SECRET}:{TOKEN},{SECRET}:{OTHER_TOKEN}"),
        ("API_TOKENS", f"kitchen:{SECRET * 4},phone:{SECRET * 4}"),
        ("ACCESSKEYID", SECRET),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("S3_ENDPOINT_URL", f"https://cook:{SECRET}@storage.example.com"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "traces.example.com/v1/traces"),
    ],
)
def test_no_error_message_quotes_a_secret(variable: str, value: str) -> None:
    assert SECRET not in complaint_about({**LEAST, variable: value})


def test_no_validation_error_of_the_constructor_quotes_a_secret() -> None:
    wrong = {
        "DATABASE_URL": f"mysql://cook:{SECRET}@db.example.com/recipes",
        "SECRET_KEY": SECRET,
        "API_TOKENS": SECRET,
    }
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(LEAST | wrong)
    assert "3 validation errors" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_repr_shows_no_secret() -> None:
    found = settings_of(
        DATABASE_URL=f"postgres://cook:{SECRET}@db.example.com/recipes",
        SECRET_KEY=SECRET * 8,
        API_TOKENS=f"kitchen:{SECRET * 4}",
        AWS_ACCESS_KEY_ID=SECRET,
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_SESSION_TOKEN=SECRET,
    )
    for shown in (repr(found), str(found), f"{found.model_dump()}", found.model_dump_json()):
        assert SECRET not in shown
        assert "photos" in shown


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings_of().port = 1


def test_only_the_documented_names_are_read() -> None:
    found = settings_of(dict.fromkeys(Settings.model_fields, "99999"))
    assert found == settings_of()


def test_the_constructor_accepts_field_names_and_typed_values() -> None:
    environ = LEAST | {"API_TOKENS": f"kitchen:{TOKEN}", "PHOTO_TYPES": "image/png", "PORT": "5000"}
    values = {
        **{name.lower(): value for name, value in LEAST.items() if name != "SECRET_KEY"},
        "secret_keys": [SecretStr(LEAST["SECRET_KEY"])],
        "api_tokens": {"kitchen": ApiToken(token=SecretStr(TOKEN))},
        "photo_types": ("image/png",),
        "port": 5000,
    }
    assert Settings.model_validate(values) == Settings.from_environment(environ)


def test_white_space_around_a_value_is_ignored() -> None:
    assert settings_of(S3_BUCKET=" photos\n").s3_bucket == "photos"


PAIRS = [
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("ACCESSKEYID", "SECRETACCESSKEY"),
    ("BUCKETEER_AWS_ACCESS_KEY_ID", "BUCKETEER_AWS_SECRET_ACCESS_KEY"),
]


@pytest.mark.parametrize("first", range(len(PAIRS)))
def test_credentials_come_from_the_first_pair_that_is_set(first: int) -> None:
    environ = {name: f"{name} of {number}" for number, pair in enumerate(PAIRS) for name in pair if number >= first}
    found = settings_of(environ)
    key, secret = PAIRS[first]
    assert plain(found.aws_access_key_id) == f"{key} of {first}"
    assert plain(found.aws_secret_access_key) == f"{secret} of {first}"


@pytest.mark.parametrize("pair", PAIRS)
def test_half_a_pair_of_credentials_is_rejected(pair: tuple[str, str]) -> None:
    for there, missing in (pair, pair[::-1]):
        assert complaint_about({**LEAST, there: "x", missing: " "}).startswith(f"{missing} is not set, but {there} is")


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (["S3_BUCKET", "BUCKETEER_BUCKET_NAME"], "s3_bucket"),
        (["AWS_REGION", "AWS_DEFAULT_REGION", "BUCKETEER_AWS_REGION"], "aws_region"),
    ],
)
def test_alternative_names_are_used_in_order(names: list[str], field: str) -> None:
    others = {name: value for name, value in LEAST.items() if name not in names}
    for first in range(len(names)):
        environ = {name: f"value-{number}" for number, name in enumerate(names) if number >= first}
        found = Settings.from_environment({**others, **dict.fromkeys(names, ""), **environ})
        assert getattr(found, field) == f"value-{first}"


def test_only_amazon_s3_requires_a_region() -> None:
    environ = LEAST | {"AWS_REGION": ""}
    assert complaint_about(environ).startswith("AWS_REGION is not set; ")
    assert Settings.from_environment(environ | {"S3_ENDPOINT_URL": "http://127.0.0.1:8333"}).aws_region == ""


EXAMPLE = (Path(__file__).parents[1] / ".env.example").read_text(encoding="utf-8")


def _documented() -> Iterator[tuple[str, str]]:
    """Yield the variables of `.env.example`, commented out or not, with their values."""
    for line in EXAMPLE.splitlines():
        if found := re.fullmatch(r"(?:# )?([A-Z][A-Z0-9_]*)=(.*)", line):
            yield found[1], found[2]


def test_the_example_documents_every_variable_once_and_nothing_else() -> None:
    assert sorted(name for name, _ in _documented()) == sorted(NAMES)


def test_a_misspelled_variable_is_found_with_the_setting_that_it_resembles() -> None:
    environ = LEAST | {"API_TOKEN": "x", "PHOTO_METDATA": "keep", "MAX_UPLOAD_BYTE": "5000"}
    assert dict(misspelled(environ)) == {
        "API_TOKEN": "API_TOKENS",
        "MAX_UPLOAD_BYTE": "MAX_UPLOAD_BYTES",
        "PHOTO_METDATA": "PHOTO_METADATA",
    }


def test_variables_of_others_are_not_misspelled_settings() -> None:
    others = ("PATH", "HOME", "DYNO", "PGPORT", "AWS_ACCESS_KEY", "AWS_PROFILE", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
    assert dict(misspelled(dict.fromkeys((*NAMES, *others), "x"))) == {}


def test_the_example_is_valid_when_uncommented(authority: Authority) -> None:
    documented = dict(_documented())
    assert documented.pop("SECRET_KEY") == "", "a key in the example would be used as it is"
    assert documented["AWS_CA_BUNDLE"].endswith(".pem")
    documented["AWS_CA_BUNDLE"] = str(authority.bundle)  # the file must exist
    assert "API_TOKENS" in complaint_about(LEAST | documented), (
        "the example's tokens are public, so they should be rejected"
    )
    del documented["API_TOKENS"]
    assert settings_of(documented).s3_bucket == documented["S3_BUCKET"]


@pytest.mark.parametrize(
    ("variable", "bounds"),
    [
        (str(field.validation_alias), [mark.ge if isinstance(mark, Ge) else mark.le for mark in field.metadata])
        for field in Settings.model_fields.values()
        if {type(mark) for mark in field.metadata} == {Ge, Le}
    ],
)
def test_the_example_states_the_bounds(variable: str, bounds: list[int]) -> None:
    before = EXAMPLE[: EXAMPLE.index(f"\n# {variable}=")]
    comment = before.rpartition("\n\n")[2].replace("\n# ", " ")
    low, high = bounds
    assert f"from {low} to {high}" in comment


@pytest.mark.parametrize(
    ("variable", "default"),
    [
        (str(field.validation_alias), str(field.default).lower())
        for field in Settings.model_fields.values()
        if field.default and isinstance(field.default, int | float | str)
    ],
)
def test_the_example_states_and_shows_the_default(variable: str, default: str) -> None:
    before = EXAMPLE[: EXAMPLE.index(f"\n# {variable}={default}\n")]
    comment = before.rpartition("\n\n")[2].replace("\n# ", " ")
    assert re.search(rf"Default: {re.escape(default)}(?!\w)", comment)


def test_an_unusable_ca_bundle_is_reported_in_one_line(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.touch()
    assert complaint_about({**LEAST, "AWS_CA_BUNDLE": str(missing)}) == (
        f"AWS_CA_BUNDLE: {missing} cannot be read: No such file or directory"
    )
    assert complaint_about({**LEAST, "AWS_CA_BUNDLE": str(empty)}) == (
        f"AWS_CA_BUNDLE: {empty} contains no certificates in PEM format"
    )
    assert "AWS_CA_BUNDLE" in complaint_about({**LEAST, "AWS_CA_BUNDLE": str(tmp_path)})
