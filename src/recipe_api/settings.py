"""The environment, read and validated once.

`Settings.from_environment(os.environ)` is the only place where the service looks at its environment; a wrong or
missing value raises `SettingsError`, whose one line names the variable. `.env.example` documents each.
Secrets are `SecretStr`: neither a log nor a traceback shows them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from recipe_api.kinds import accepted

KIB = 1024
MIB = 1024 * KIB

PART_SIZE = 5 * MIB
"""Bytes of one part of a multipart upload: S3's minimum, so that the most uploads share a dyno's memory."""
MAX_PARTS = 10_000
"""S3's own bound on the parts of one object, which with `PART_SIZE` bounds a photo to 48 GiB."""

DEFAULT_PHOTO_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "image/heif")

MIN_TOKEN_LENGTH = 16
"""Characters of an API token: what nobody guesses over a network, if they are random."""
MIN_SECRET_KEY_LENGTH = 32
"""Characters of the key under which tokens are signed, which can be guessed at without asking us."""

_DATABASE_OPTIONS = frozenset({"host", "port", "ssl", "prepared_statement_cache_size"})
"""What of a database's address SQLAlchemy or asyncpg takes as text; anything else fails at the first connection."""
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})

_CREDENTIAL_PAIRS = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("ACCESSKEYID", "SECRETACCESSKEY"),  # the lesson's names
    ("BUCKETEER_AWS_ACCESS_KEY_ID", "BUCKETEER_AWS_SECRET_ACCESS_KEY"),  # the Heroku add-on's
)
_ALIASES = {
    "S3_BUCKET": ("BUCKETEER_BUCKET_NAME",),
    "AWS_REGION": ("AWS_DEFAULT_REGION", "BUCKETEER_AWS_REGION"),
}


class SettingsError(Exception):
    """The environment does not describe a service that could run. One line, naming each variable at fault."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _named_tokens(value: object) -> object:
    if not isinstance(value, str):
        return value
    tokens: dict[str, str] = {}
    for item in value.split(","):
        if not item.strip():
            continue
        name, colon, token = (piece.strip() for piece in item.partition(":"))
        if not (name and colon and token):
            raise ValueError("each entry is written name:token, with commas between entries")
        if name in tokens or token in tokens.values():
            raise ValueError("two entries have the same name or the same token")  # not quoted: it may be the token
        if len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(f"each token has {MIN_TOKEN_LENGTH} or more ASCII characters without spaces")
        tokens[name] = token
    return tokens


def _http_url(value: str) -> str:
    parts = _split_url(value)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be an address such as https://photos.example.com, without a user")
    if set(value) & set("?# "):
        raise ValueError("must have neither a query nor a fragment nor spaces")
    return value.rstrip("/")


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        parts = _split_url(value)
        if value != "*" and not (parts and parts.netloc and value == f"{parts.scheme}://{parts.netloc.lower()}"):
            raise ValueError(f"{value!r} is no origin; write scheme://host[:port] without a path, or *")
    return values


def _key_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9/_.-]*", value) or value.startswith("/") or "//" in value:
        raise ValueError("use ASCII letters, digits and -_./ only, not beginning with a slash, such as public/")
    if {".", ".."} & set(value.split("/")):
        raise ValueError("clients leave . and .. out of an address, so no folder can have these names")
    return value


def _bucket(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", value):
        raise ValueError("is no name of a bucket: 3 to 63 letters, digits, dots and hyphens")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", value):
        raise ValueError("is no name of a region; write it such as eu-central-1")
    return value


def _photo_types(values: tuple[str, ...]) -> tuple[str, ...]:
    if not accepted(values):
        raise ValueError("names no kind of photo; leave it unset for the usual ones")
    return values


def _secret_key(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if len(secret) < MIN_SECRET_KEY_LENGTH or not secret.isascii():
        raise ValueError(f"use {MIN_SECRET_KEY_LENGTH} or more random ASCII characters")
    return value


def asyncpg_url(value: str) -> str:
    """The SQLAlchemy address of a PostgreSQL for asyncpg, from one as Heroku or libpq writes it.

    SQLAlchemy refuses `postgres://`, and asyncpg knows `ssl` where libpq says `sslmode`.

    Raises:
        ValueError: It is no PostgreSQL address.
    """
    # What is wrong is never quoted: wherever a character of the password is not escaped, it may be part of that.
    parts = _split_url(value)
    if parts is None or parts.netloc.count("@") > 1 or parts.fragment:
        raise ValueError("is no address; in user and password, write @ : / ? # [ ] as %40 %3A %2F %3F %23 %5B %5D")
    if parts.scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise ValueError("must begin postgres:// or postgresql://")
    if len(parts.path) < 2:
        raise ValueError("must end in the name of a database, such as postgres://user:password@host:5432/recipes")
    options = [("ssl" if name == "sslmode" else name, item) for name, item in parse_qsl(parts.query)]
    if not _DATABASE_OPTIONS.issuperset(name for name, _ in options):
        raise ValueError(f"has an option that asyncpg lacks; it has sslmode, {', '.join(sorted(_DATABASE_OPTIONS))}")
    if not _SSL_MODES.issuperset(item for name, item in options if name == "ssl"):
        raise ValueError(f"has an unknown sslmode; choose from {', '.join(sorted(_SSL_MODES))}")
    return f"postgresql+asyncpg://{parts.netloc}{parts.path}?{urlencode(options)}".rstrip("?")


def _split_url(value: str) -> SplitResult | None:
    """The parts of an address, if it is one. The standard library's complaints quote it, so they go no further."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return None
    return parts


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class _Environment(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` describes. An empty value counts as unset, as in Heroku's dashboard.

        Raises:
            SettingsError: Something is missing or wrong.
        """
        values = {
            name: value.strip()
            for name, value in environ.items()
            if value.strip() and name not in cls.model_fields  # a field's own name is for constructors, not for here
        }
        for name, others in _ALIASES.items():
            found = next((values[other] for other in (name, *others) if other in values), None)
            if found is not None:
                values[name] = found
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(_sentence(item) for item in error.errors())) from None


def _sentence(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return f"{error['loc'][0]} is not set; see .env.example"
    message = error["msg"].removeprefix("Value error, ")
    return f"{error['loc'][0]}: {message}" if error["loc"] else message


class DatabaseSettings(_Environment):
    """What a command needs that speaks to the database alone, such as the release phase's migration."""

    database_url: Annotated[SecretStr, AfterValidator(lambda url: SecretStr(asyncpg_url(url.get_secret_value())))] = (
        Field(validation_alias="DATABASE_URL")
    )
    database_pool_size: int = Field(5, ge=2, le=100, validation_alias="DATABASE_POOL_SIZE")
    """Connections of one process. Heroku's smallest plan grants 20 to all of them."""


class S3Settings(_Environment):
    """What a command needs that speaks to the object store alone, such as `recipe-api bucket doctor`."""

    s3_bucket: Annotated[str, AfterValidator(_bucket)] = Field(validation_alias="S3_BUCKET")
    s3_key_prefix: Annotated[str, AfterValidator(_key_prefix)] = Field(
        "", validation_alias="S3_KEY_PREFIX", max_length=512
    )
    s3_endpoint_url: HttpUrl | None = Field(None, validation_alias="S3_ENDPOINT_URL")
    s3_checksum: Literal["crc32", "off"] = Field("crc32", validation_alias="S3_CHECKSUM")
    s3_conditional_writes: bool = Field(True, validation_alias="S3_CONDITIONAL_WRITES")
    s3_acl: Literal["public-read"] | None = Field(None, validation_alias="S3_ACL")
    aws_region: Annotated[str, AfterValidator(_region)] = Field("", validation_alias="AWS_REGION")
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = Field(None, validation_alias="AWS_SESSION_TOKEN")
    public_base_url: HttpUrl | None = Field(None, validation_alias="PUBLIC_BASE_URL")
    cors_origins: Annotated[Names, AfterValidator(_origins)] = Field((), validation_alias="CORS_ORIGINS")
    """Of the API and of the bucket alike: a page that uploads reads what it uploaded."""

    @model_validator(mode="before")
    @classmethod
    def _one_pair_of_credentials(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key_name, secret_name in _CREDENTIAL_PAIRS:
            key, secret = values.get(key_name), values.get(secret_name)
            if bool(key) != bool(secret):
                there, missing = (key_name, secret_name) if key else (secret_name, key_name)
                raise ValueError(f"{missing} is not set, though {there} is; set both or neither")
            if key and secret:
                return {**values, "aws_access_key_id": key, "aws_secret_access_key": secret}
        return values

    @model_validator(mode="after")
    def _region_where_it_is_needed(self) -> Self:
        if not self.aws_region and self.s3_endpoint_url is None:
            raise ValueError("AWS_REGION is not set; Amazon S3 wants the region of the bucket, such as eu-central-1")
        return self


class Settings(DatabaseSettings, S3Settings):
    """All of it; frozen. Field by field the same as `.env.example`, which says more."""

    secret_key: Annotated[SecretStr, AfterValidator(_secret_key)] = Field(validation_alias="SECRET_KEY")
    api_tokens: Annotated[dict[str, SecretStr], BeforeValidator(_named_tokens)] = Field(
        default_factory=dict, validation_alias="API_TOKENS"
    )

    max_upload_bytes: int = Field(64 * MIB, ge=1, le=MAX_PARTS * PART_SIZE, validation_alias="MAX_UPLOAD_BYTES")
    max_label_bytes: int = Field(1 * KIB, ge=1, le=64 * KIB, validation_alias="MAX_LABEL_BYTES")
    max_form_parts: int = Field(20, ge=2, le=1000, validation_alias="MAX_FORM_PARTS")
    body_idle_seconds: float = Field(20, gt=0, le=300, validation_alias="BODY_IDLE_SECONDS")
    body_min_bytes_per_second: int = Field(512, ge=0, validation_alias="BODY_MIN_BYTES_PER_SECOND")
    max_concurrent_uploads: int = Field(400, ge=1, le=10_000, validation_alias="MAX_CONCURRENT_UPLOADS")
    upload_buffer_bytes: int = Field(48 * MIB, ge=2 * PART_SIZE, validation_alias="UPLOAD_BUFFER_BYTES")
    """Memory that the buffers of one process take together: with it two processes under load live in 512 MB."""
    idempotency_key_seconds: int = Field(24 * 3600, ge=60, validation_alias="IDEMPOTENCY_KEY_SECONDS")
    parts_in_flight: int = Field(2, ge=1, le=16, validation_alias="PARTS_IN_FLIGHT")
    photo_types: Annotated[Names, AfterValidator(_photo_types)] = Field(
        DEFAULT_PHOTO_TYPES, validation_alias="PHOTO_TYPES"
    )

    port: int = Field(8000, ge=1, le=65535, validation_alias="PORT")
    web_concurrency: int = Field(1, ge=1, le=64, validation_alias="WEB_CONCURRENCY")
    forwarded_allow_ips: str = Field("127.0.0.1", validation_alias="FORWARDED_ALLOW_IPS")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda level: level.lower() if isinstance(level, str) else level),
    ] = Field("info", validation_alias="LOG_LEVEL")
