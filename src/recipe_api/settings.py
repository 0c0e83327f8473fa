"""The environment, read and validated once.

`Settings.from_environment(os.environ)` is the only place where the service reads its environment. A missing or invalid
value raises `SettingsError`, whose one-line message names the variable. `.env.example` documents each variable.
Secrets are `SecretStr`, so that neither a log nor a traceback shows them.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

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

from recipe_api import otel_variables
from recipe_api.database_url import validate
from recipe_api.photos.kinds import accepted
from recipe_api.photos.metadata import PhotoMetadata, unfilterable
from recipe_api.units import GIB, KIB, MIB

PART_SIZE = 5 * MIB
"""Bytes of one part of a multipart upload: S3's minimum, so that as many uploads as possible share the memory."""
MAX_PARTS = 10_000
"""S3's limit on the parts of one object. With `PART_SIZE`, it limits a photo to 48 GiB."""

MAX_BYTES_PER_DAY = 10**15 - 1
"""The largest integer in a structured field (RFC 9651 §3.3.1), such as those that tell clients their quotas."""

PUBLIC_HYPHEN = 13
"""The index of the hyphen in a photo's key, after `S3_KEY_PREFIX` and the milliseconds. The bucket policy publishes all
keys with a hyphen there, so the key of a piece must not have one."""

DEFAULT_PHOTO_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "image/heif")

DEFAULT_RENDITIONS = (320, 960, 1920)
"""Longest sides in pixels: for a gallery tile, for a tile on a dense screen or half a page, and for a full screen."""
MAX_RENDITIONS = 8
MAX_RENDITION_SIZE = 4096
"""In pixels. Larger renditions would need more memory than a small dyno has."""

MIN_TOKEN_LENGTH = 16
"""Minimum length of an API token: too long to guess over a network, if it is random."""
MIN_SECRET_KEY_LENGTH = 32
"""Minimum length of the key that signs tokens, which an attacker can try to guess offline."""

_PLACEHOLDER = "not-a-real"
"""Part of every secret in `.env.example`."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{1,61}[A-Za-z0-9]")
"""S3's rules for bucket names. Old buckets may contain capital letters; S3 still serves them by path."""
_IPV4 = re.compile(r"\d+(\.\d+){3}")
_ENDPOINT_HOST = re.compile(r"(?=.{1,255}$)(?:(?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9-]{1,63}(?<!-)\.?")
"""Host names that botocore accepts as an endpoint. It rejects underscores, which Docker service names may contain."""
_WILDCARD_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9-]*\*[a-z0-9-]*(\.[a-z0-9-]+){2,}(:\d+)?")
"""One `*`, in the leftmost label of a host with at least two more. S3's CORS rules also accept only one."""

OWN_PATHS = frozenset(
    {
        *("/recipe", "/uploads", "/uppy"),
        *("/docs", "/openapi.json", "/static", "/swagger-ui", "/problems", "/healthz", "/readyz"),
    }
)
"""First segments of the service's routes. With one of them as root path, a stripped path would be ambiguous."""

_CREDENTIAL_PAIRS = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("ACCESSKEYID", "SECRETACCESSKEY"),  # alternative names, for compatibility
    ("BUCKETEER_AWS_ACCESS_KEY_ID", "BUCKETEER_AWS_SECRET_ACCESS_KEY"),  # the Heroku add-on's
)
_ALIASES = {
    "S3_BUCKET": ("BUCKETEER_BUCKET_NAME",),
    "AWS_REGION": ("AWS_DEFAULT_REGION", "BUCKETEER_AWS_REGION"),
}

_OTEL_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)

_MAY_BE_EMPTY = frozenset({"RENDITIONS"})


class SettingsError(Exception):
    """A variable of the environment is missing or invalid. The message is one line that names each such variable."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


class ApiToken(BaseModel):
    """A token that every client with the same rights may share."""

    model_config = ConfigDict(frozen=True)

    token: SecretStr
    upload_only: bool = False
    """True if it permits uploading and listing, but not renaming and deleting."""


def _named_tokens(value: object) -> object:
    if not isinstance(value, str):
        return value
    tokens: dict[str, ApiToken] = {}
    for item in filter(None, map(str.strip, value.split(","))):
        name, token = _named_token(item)
        if name in tokens or token.token in {other.token for other in tokens.values()}:
            raise ValueError("two entries have the same name or the same token")  # not quoted: it may be the token
        tokens[name] = token
    if not tokens:
        raise ValueError("contains no token; leave it unset to let anyone upload")
    return tokens


def _named_token(entry: str) -> tuple[str, ApiToken]:
    """Parse `name:token` or `name:token:upload`. No error message quotes the entry, since it contains the token."""
    name, token, *limits = (piece.strip() for piece in entry.split(":")) if ":" in entry else ("", "")
    if not (name and token):
        raise ValueError("each entry is written name:token or name:token:upload, with commas between entries")
    if limits not in ([], ["upload"]):
        raise ValueError("after a token, only :upload may follow; a token itself contains no colon")
    if len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"each token has {MIN_TOKEN_LENGTH} or more ASCII characters without spaces")
    if _PLACEHOLDER in token:
        raise ValueError("contains a token of .env.example, which anyone can read; `openssl rand -hex 32` makes one")
    return name, ApiToken(token=SecretStr(token), upload_only=bool(limits))


def _http_url(value: str) -> str:
    parts = _split_url(value)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must begin with http:// or https://, followed by a host without a user")
    if set(value) & set("?# "):
        raise ValueError("must have neither a query nor a fragment nor spaces")
    return value.rstrip("/")


def _endpoint_url(value: str) -> str:
    host = urlsplit(value).hostname or ""
    if ":" not in host and not _ENDPOINT_HOST.fullmatch(host):
        raise ValueError(f"{host} is not a host name that the client for S3 accepts: letters, digits, hyphens and dots")
    return value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        parts = _split_url(value)
        if value == "*":
            continue
        if not (parts and parts.netloc and value == f"{parts.scheme}://{parts.netloc.lower()}"):
            raise ValueError(f"{value!r} is not an origin; write scheme://host[:port] without a path, or *")
        if "*" in value and not _WILDCARD_ORIGIN.fullmatch(value):
            raise ValueError(f"{value!r} has a misplaced *; use one, left of the domain: https://*.example.com")
    return values


def _key_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9/_.-]*", value) or value.startswith("/") or "//" in value:
        raise ValueError("use ASCII letters, digits and -_./ only, not beginning with a slash, such as public/")
    if {".", ".."} & set(value.split("/")):
        raise ValueError("clients remove . and .. from URLs, so no folder can have these names")
    return value


def _staging_prefix(value: str) -> str:
    if not value.endswith("/"):
        raise ValueError("must end with a slash, such as staged/")
    return _key_prefix(value)


def _root_path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value) or {".", ".."} & set(value.split("/")):
        raise ValueError("begin with a slash, end without one, and use ASCII letters, digits and -._~ only, as in /api")
    if value in OWN_PATHS:
        raise ValueError(f"{value} is one of the service's own paths; choose another one, such as /api")
    return value


def _bucket(value: str) -> str:
    if not _BUCKET.fullmatch(value) or ".." in value or _IPV4.fullmatch(value):
        raise ValueError("is not a bucket name: use 3 to 63 letters, digits, dots and hyphens, such as my-photos")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", value):
        raise ValueError("is not a region name; write it as in eu-central-1")
    return value


def _ca_bundle(value: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except ssl.SSLError:
        raise ValueError(f"{value} contains no certificates in PEM format") from None
    except OSError as error:
        raise ValueError(f"{value} cannot be read: {error.strerror}") from None
    return value


def _photo_types(values: tuple[str, ...]) -> tuple[str, ...]:
    if not accepted(values):
        raise ValueError("contains no photo type; leave it unset for the default ones")
    return values


def _rendition_sizes(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value in {"", "none"}:
        return ()
    sizes = {item.strip() for item in value.split(",")}
    if not all(re.fullmatch(r"[0-9]{1,4}", size) and 16 <= int(size) <= MAX_RENDITION_SIZE for size in sizes):
        raise ValueError(f"write sizes from 16 to {MAX_RENDITION_SIZE} pixels with commas between them, or none")
    if len(sizes) > MAX_RENDITIONS:
        raise ValueError(f"contains {len(sizes)} sizes; {MAX_RENDITIONS} are allowed")
    return tuple(sorted(map(int, sizes)))


def _rendition_url(value: str) -> str:
    _http_url(re.sub(r"\{(size|key)\}", "x", value))
    if "{size}" not in value or "{key}" not in value:
        raise ValueError("must contain {size} and {key}, as in https://img.example.com/{size}/{key}")
    if set(value.replace("{size}", "").replace("{key}", "")) & set("{}"):
        raise ValueError("may contain {size} and {key}, but no other braces")
    return value


def _secrets(value: object) -> object:
    return tuple(SecretStr(item.strip()) for item in value.split(",")) if isinstance(value, str) else value


def _secret_keys(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for value in values:
        secret = value.get_secret_value()
        if len(secret) < MIN_SECRET_KEY_LENGTH or not secret.isascii():
            raise ValueError(f"use {MIN_SECRET_KEY_LENGTH} or more random ASCII characters for each key")
    if len(set(values)) < len(values):
        raise ValueError("contains the same key twice")
    return values


def _database_url(value: SecretStr) -> SecretStr:
    return SecretStr(validate(value.get_secret_value()))


def _split_url(value: str) -> SplitResult | None:
    """Return the parts of a URL; None if it is invalid. The standard library's errors are dropped, as they quote it."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises if it is not a number
    except ValueError:
        return None
    return parts


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class _Environment(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings in `environ`. An empty value counts as unset, except where it has a meaning.

        Raises:
            SettingsError: A variable is missing or invalid.
        """
        values = {
            name: value.strip()
            for name, value in environ.items()
            if (value.strip() or name in _MAY_BE_EMPTY) and name not in cls.model_fields  # those are for constructors
        }
        for name, others in _ALIASES.items():
            found = next((values[other] for other in (name, *others) if other in values), None)
            if found is not None:
                values[name] = found
        settings, complaints = None, list(cls._complaints(values))
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            complaints += _sentences(error.errors())
        if settings is None or complaints:
            raise SettingsError("; ".join(complaints)) from None
        return settings

    @classmethod
    def _complaints(cls, values: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG003 - for subclasses
        """Yield a sentence for each problem that is not one of a single field.

        Pydantic would not report these together with those of fields.
        """
        yield from ()


def _sentences(errors: list[ErrorDetails]) -> Iterator[str]:
    yield from (_sentence(error) for error in errors if error["type"] != "missing")
    if missing := sorted(str(error["loc"][0]) for error in errors if error["type"] == "missing"):
        yield f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set; see .env.example"


def _sentence(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return f"{error['loc'][0]}: {message}" if error["loc"] else message


class DatabaseSettings(_Environment):
    """Settings for commands that use only the database, such as the migrations of the release phase."""

    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(validation_alias="DATABASE_URL")
    """A connection URI as libpq defines it; `database_url.py` parses it."""
    database_pool_size: int = Field(5, ge=1, le=100, validation_alias="DATABASE_POOL_SIZE")
    """Connections of one process. Heroku's smallest plan allows 20 in total."""


class S3Settings(_Environment):
    """Settings for commands that use only the object store, such as `recipe-api bucket doctor`."""

    s3_bucket: Annotated[str, AfterValidator(_bucket)] = Field(validation_alias="S3_BUCKET")
    s3_key_prefix: Annotated[str, AfterValidator(_key_prefix)] = Field(
        "", validation_alias="S3_KEY_PREFIX", max_length=512
    )
    s3_staging_prefix: Annotated[str, AfterValidator(_staging_prefix)] = Field(
        "staged/", validation_alias="S3_STAGING_PREFIX", max_length=512
    )
    """The full prefix of the pieces of staged uploads, not relative to `s3_key_prefix`."""
    s3_endpoint_url: Annotated[HttpUrl, AfterValidator(_endpoint_url)] | None = Field(
        None, validation_alias="S3_ENDPOINT_URL"
    )
    s3_checksum: Literal["crc32", "off"] = Field("crc32", validation_alias="S3_CHECKSUM")
    s3_conditional_writes: bool = Field(True, validation_alias="S3_CONDITIONAL_WRITES")
    s3_acl: Literal["public-read"] | None = Field(None, validation_alias="S3_ACL")
    aws_region: Annotated[str, AfterValidator(_region)] = Field("", validation_alias="AWS_REGION")
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = Field(None, validation_alias="AWS_SESSION_TOKEN")
    aws_ca_bundle: Annotated[str, AfterValidator(_ca_bundle)] | None = Field(None, validation_alias="AWS_CA_BUNDLE")
    public_base_url: HttpUrl | None = Field(None, validation_alias="PUBLIC_BASE_URL")
    shared_cache_seconds: int = Field(3600, ge=0, le=31_536_000, validation_alias="SHARED_CACHE_SECONDS")
    """How long a CDN may serve a photo after it was deleted."""
    cors_origins: Annotated[Names, AfterValidator(_origins)] = Field((), validation_alias="CORS_ORIGINS")
    """For the API and the bucket alike, since a page that uploads a photo also reads it."""

    @model_validator(mode="before")
    @classmethod
    def _one_pair_of_credentials(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key_name, secret_name in _CREDENTIAL_PAIRS:
            if values.get(key_name) and values.get(secret_name):
                pair = {"aws_access_key_id": values[key_name], "aws_secret_access_key": values[secret_name]}
                return {**values, **pair}
        return values

    @classmethod
    def _complaints(cls, values: Mapping[str, str]) -> Iterator[str]:
        yield from super()._complaints(values)
        for pair in _CREDENTIAL_PAIRS:
            missing = [name for name in pair if name not in values]
            if len(missing) == 1:
                (present,) = set(pair) - set(missing)
                yield f"{missing[0]} is not set, but {present} is; set both or neither"
            if not missing:  # later pairs are ignored
                break
        if "AWS_REGION" not in values and "S3_ENDPOINT_URL" not in values:
            yield "AWS_REGION is not set; Amazon S3 requires the region of the bucket, such as eu-central-1"

    @model_validator(mode="after")
    def _pieces_are_not_photos(self) -> Self:
        if self.s3_key_prefix.startswith(self.s3_staging_prefix):
            raise ValueError(
                f"S3_STAGING_PREFIX {self.s3_staging_prefix} covers S3_KEY_PREFIX {self.s3_key_prefix}: photos would "
                "expire like the pieces of unfinished uploads; choose another prefix for one of them"
            )
        below = self.s3_staging_prefix.removeprefix(self.s3_key_prefix)
        is_below = self.s3_staging_prefix.startswith(self.s3_key_prefix)
        if is_below and below[PUBLIC_HYPHEN : PUBLIC_HYPHEN + 1] == "-":
            raise ValueError(
                f"S3_STAGING_PREFIX: must not have a hyphen as character {PUBLIC_HYPHEN + 1} after S3_KEY_PREFIX; by "
                "that hyphen the bucket policy recognizes what is public"
            )
        return self


class TelemetrySettings(_Environment):
    """Which signals are exported. OpenTelemetry's SDK reads these variables itself, and its other ones.

    If any signal has an endpoint, the SDK's numbers are validated too, because the SDK reads them only after the start.
    """

    otel_endpoint: HttpUrl | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otel_metrics_endpoint: HttpUrl | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    otel_traces_endpoint: HttpUrl | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otel_metrics_exporter: str = Field("otlp", validation_alias="OTEL_METRICS_EXPORTER")
    otel_traces_exporter: str = Field("otlp", validation_alias="OTEL_TRACES_EXPORTER")
    otel_sdk_disabled: str = Field("false", validation_alias="OTEL_SDK_DISABLED")
    """Only `true` disables the SDK. Any other value counts as false, as OpenTelemetry specifies for booleans."""

    @classmethod
    def _complaints(cls, values: Mapping[str, str]) -> Iterator[str]:
        yield from super()._complaints(values)
        if any(name in values for name in _OTEL_ENDPOINTS):
            yield from otel_variables.complaints(values)

    @property
    def exports_metrics(self) -> bool:
        """Whether metrics are exported."""
        return self._exports(self.otel_metrics_endpoint, self.otel_metrics_exporter)

    @property
    def exports_traces(self) -> bool:
        """Whether traces are exported."""
        return self._exports(self.otel_traces_endpoint, self.otel_traces_exporter)

    def _exports(self, endpoint: str | None, exporter: str) -> bool:
        is_disabled = self.otel_sdk_disabled.lower() == "true" or exporter.lower() == "none"
        return bool(endpoint or self.otel_endpoint) and not is_disabled


class Settings(DatabaseSettings, S3Settings, TelemetrySettings):
    """All settings. They are immutable, and correspond to the variables in `.env.example`, which explains them."""

    secret_keys: Annotated[
        tuple[SecretStr, ...], BeforeValidator(_secrets), AfterValidator(_secret_keys), Field(min_length=1)
    ] = Field(validation_alias="SECRET_KEY")
    """The first key signs manage tokens; all of them verify."""
    api_tokens: Annotated[dict[str, ApiToken], BeforeValidator(_named_tokens)] = Field(
        default_factory=dict, validation_alias="API_TOKENS"
    )
    allow_insecure_tokens: bool = Field(False, validation_alias="ALLOW_INSECURE_TOKENS")
    """True accepts bearer tokens over plain HTTP from other machines."""
    refuse_cross_site_forms: Literal["private", "always", "never"] = Field(
        "private", validation_alias="REFUSE_CROSS_SITE_FORMS"
    )
    """From which clients uploads by other sites' pages are rejected, where no token is required."""

    max_upload_bytes: int = Field(64 * MIB, ge=1, le=MAX_PARTS * PART_SIZE, validation_alias="MAX_UPLOAD_BYTES")
    max_label_bytes: int = Field(1 * KIB, ge=1, le=64 * KIB, validation_alias="MAX_LABEL_BYTES")
    max_form_parts: int = Field(20, ge=2, le=1000, validation_alias="MAX_FORM_PARTS")
    max_staged_upload_bytes: int = Field(128 * MIB, ge=1, le=GIB, validation_alias="MAX_STAGED_UPLOAD_BYTES")
    """Limited, because completion reads and rewrites the whole upload while its client waits for the response."""
    upload_seconds: int = Field(20 * 3600, ge=60, le=40 * 3600, validation_alias="UPLOAD_SECONDS")
    """How long a staged upload may take, which is less than its pieces are kept."""
    max_staged_uploads_per_client: int = Field(50, ge=1, le=10_000, validation_alias="MAX_STAGED_UPLOADS_PER_CLIENT")
    max_staged_bytes_per_client: int = Field(2 * GIB, ge=1, validation_alias="MAX_STAGED_BYTES_PER_CLIENT")
    body_idle_seconds: float = Field(20, gt=0, le=300, validation_alias="BODY_IDLE_SECONDS")
    body_min_bytes_per_second: int = Field(512, ge=0, validation_alias="BODY_MIN_BYTES_PER_SECOND")
    max_concurrent_uploads: int = Field(400, ge=1, le=10_000, validation_alias="MAX_CONCURRENT_UPLOADS")
    max_uploads_per_client: int | None = Field(None, ge=1, le=10_000, validation_alias="MAX_UPLOADS_PER_CLIENT")
    max_uploads_per_client_per_minute: int = Field(
        0, ge=0, le=100_000, validation_alias="MAX_UPLOADS_PER_CLIENT_PER_MINUTE"
    )
    """0 for no limit."""
    max_bytes_per_client_per_day: int = Field(
        0, ge=0, le=MAX_BYTES_PER_DAY, validation_alias="MAX_BYTES_PER_CLIENT_PER_DAY"
    )
    """0 for no limit."""
    upload_buffer_bytes: int = Field(48 * MIB, ge=2 * PART_SIZE, validation_alias="UPLOAD_BUFFER_BYTES")
    """Memory for all buffers of one process. With the default, two busy processes fit in 512 MB."""
    idempotency_key_seconds: int = Field(24 * 3600, ge=60, validation_alias="IDEMPOTENCY_KEY_SECONDS")
    parts_in_flight: int = Field(8, ge=1, le=16, validation_alias="PARTS_IN_FLIGHT")
    photo_types: Annotated[Names, AfterValidator(_photo_types)] = Field(
        DEFAULT_PHOTO_TYPES, validation_alias="PHOTO_TYPES"
    )
    photo_metadata: PhotoMetadata = Field(PhotoMetadata.REMOVE, validation_alias="PHOTO_METADATA")
    renditions: Annotated[tuple[int, ...], BeforeValidator(_rendition_sizes)] = Field(
        DEFAULT_RENDITIONS, validation_alias="RENDITIONS"
    )
    """Longest sides in pixels, ascending; empty if no renditions are offered."""
    rendition_url: Annotated[str, AfterValidator(_rendition_url)] | None = Field(None, validation_alias="RENDITION_URL")
    """URL template of another service's renditions, with `{size}` and `{key}`; None if this service makes them."""

    root_path: Annotated[str, AfterValidator(_root_path)] = Field("", validation_alias="ROOT_PATH")
    """The path below which a reverse proxy publishes the service; empty at the root of a host."""
    port: int = Field(8000, ge=1, le=65535, validation_alias="PORT")
    http_protocol: Literal["recipe_api", "httptools"] = Field("recipe_api", validation_alias="HTTP_PROTOCOL")
    """Which protocol class uvicorn uses: that of `server/`, or its own."""
    web_concurrency: int = Field(1, ge=1, le=64, validation_alias="WEB_CONCURRENCY")
    forwarded_allow_ips: str = Field("127.0.0.1", validation_alias="FORWARDED_ALLOW_IPS")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda level: level.lower() if isinstance(level, str) else level),
    ] = Field("info", validation_alias="LOG_LEVEL")

    @model_validator(mode="after")
    def _metadata_of_all_types_can_be_removed(self) -> Self:
        kept = unfilterable(self.photo_types)
        if self.photo_metadata is PhotoMetadata.REMOVE and kept:
            raise ValueError(
                f"PHOTO_TYPES contains {', '.join(kept)}, whose metadata cannot be removed; "
                "leave that out, or set PHOTO_METADATA=keep to publish every photo with its metadata"
            )
        return self

    @model_validator(mode="after")
    def _largest_photo_is_within_the_quota(self) -> Self:
        if 0 < self.max_bytes_per_client_per_day < self.max_upload_bytes:
            raise ValueError(
                f"MAX_BYTES_PER_CLIENT_PER_DAY: must be at least MAX_UPLOAD_BYTES ({self.max_upload_bytes}), or 0 for "
                "no limit"
            )
        return self

    @property
    def max_staged_bytes(self) -> int:
        """The maximum size in bytes of a photo that is sent in pieces."""
        return min(self.max_staged_upload_bytes, self.max_upload_bytes)

    @property
    def uploads_per_client(self) -> int:
        """Concurrent uploads from one address or with one token: as set, or a quarter of `max_concurrent_uploads`."""
        return self.max_uploads_per_client or max(self.max_concurrent_uploads // 4, 1)


NAMES = frozenset(
    name
    for names in (
        (str(field.validation_alias) for field in Settings.model_fields.values() if field.validation_alias),
        *_ALIASES.values(),
        *_CREDENTIAL_PAIRS,
    )
    for name in names
)
"""All environment variables that the service reads, except those that only its libraries read."""

_SPELLED_ALIKE = 0.9
"""A similarity, as `difflib` measures it: that of `API_TOKEN` and `API_TOKENS` is 0.95."""
_OTHER_PREFIXES = ("AWS_", "OTEL_")
"""Of variables that libraries read, some of which differ little from ours."""


def misspelled(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield variables that are no settings but are spelled almost like one, each with that setting."""
    for name in sorted(environ.keys() - NAMES):
        if not name.startswith(_OTHER_PREFIXES):
            yield from ((name, found) for found in get_close_matches(name, NAMES, n=1, cutoff=_SPELLED_ALIKE))
