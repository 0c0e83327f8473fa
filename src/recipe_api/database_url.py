"""Parses and validates `DATABASE_URL`, a PostgreSQL connection URI as libpq defines it, without connecting.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS lists the syntax and the parameters.
Every parameter is either honoured or rejected by name. A server would reject an unknown one too, but only when the
first connection is opened.

Error messages never quote the URI: if a character of the password is not escaped, any part of it may be the password.
"""

import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from urllib.parse import unquote

SYSTEM_ROOTS = "system"
"""The value of `sslrootcert` that stands for the certificate authorities of the operating system."""

_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9]*)(?:\+[A-Za-z0-9]+)?://"  # SQLAlchemy appends a driver to the scheme
    r"(?:(?P<login>[^/?#@]*)@)?(?P<hosts>[^/?#@]*)(?:/(?P<database>[^?#@]*))?(?:\?(?P<query>[^#@]*))?"
)
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>\d*))?")

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": _SSL_MODES,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "gsslib": ("gssapi", "sspi"),
    "gssencmode": ("disable", "prefer"),  # asyncpg has no GSSAPI encryption, so "require" cannot be honoured
    "client_encoding": ("auto", "UTF8", "utf8", "UTF-8", "utf-8"),  # asyncpg supports no other encoding
    "prepared_statements": ("true", "false"),
    "pgbouncer": ("true", "false"),
}
_TLS = frozenset(
    {"sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version"}
)
_DRIVER = frozenset({"passfile", "service", "target_session_attrs", "krbsrvname", "gsslib"})
_TARGET = frozenset({"host", "port", "dbname", "user", "password"})
_SUPPORTED = frozenset(
    {
        *_TLS,
        *_DRIVER,
        *_TARGET,
        *_CHOICES,
        "connect_timeout",
        "options",
        "application_name",
        "fallback_application_name",
    }
)
_CACHE_SIZES = frozenset({"statement_cache_size", "prepared_statement_cache_size"})
"""With the value 0, these mean `prepared_statements=false` to asyncpg and SQLAlchemy."""

_ESCAPES = "in user and password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"


@dataclass(frozen=True, slots=True)
class Host:
    """A server. If a part is None, libpq's environment variables and defaults apply."""

    name: str | None
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """A parsed URI."""

    hosts: tuple[Host, ...]
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    tls: Mapping[str, str] = field(repr=False)
    """The `ssl…` parameters. `channel_binding=require` has been turned into `sslmode=verify-full`; see `_tls`."""
    driver: Mapping[str, str]
    """Other parameters that asyncpg accepts under libpq's names."""
    server_settings: Mapping[str, str]
    """Run-time parameters that each session starts with."""
    connect_timeout: float | None
    """The timeout for one server in seconds; None if the URI sets none."""
    prepared_statements: bool | None
    """Whether named prepared statements work; None if the URI does not say so."""


def validate(uri: str) -> str:
    """Return `uri` if it is valid and its certificate files can be loaded.

    Raises:
        ValueError: The URI is invalid, or a file cannot be loaded.
    """
    tls = parse(uri).tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in ("sslrootcert", "sslcrl"):
        path = tls.get(name, SYSTEM_ROOTS)
        if path != SYSTEM_ROOTS:
            try:
                context.load_verify_locations(cafile=path)
            except OSError:
                raise ValueError(f"has an {name} that is not a readable file in PEM format") from None
    if "sslcert" in tls:
        try:
            context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), lambda: tls.get("sslpassword", ""))
        except OSError:
            raise ValueError("has an sslcert or sslkey that is not a readable file in PEM format") from None
    return uri


def parse(uri: str) -> DatabaseUrl:
    """Parse a URI without touching the network or the file system.

    Raises:
        ValueError: The URI is malformed, or asks for something that asyncpg does not support.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise ValueError(f"is not a valid connection URI; {_ESCAPES}")
    if match["scheme"] not in {"postgres", "postgresql"}:
        raise ValueError("must begin with postgres:// or postgresql://")
    given = _parameters(match["query"] or "")
    user, _, password = (match["login"] or "").partition(":")
    database = given.get("dbname") or _decode(match["database"] or "") or None
    if database is None and "service" not in given:
        raise ValueError("must name a database, as in postgres://user:password@host:5432/recipes")
    hosts = _hosts(match["hosts"], given)
    return DatabaseUrl(
        hosts=hosts,
        user=given.get("user") or _decode(user) or None,
        password=given.get("password") or _decode(password) or None,
        database=database,
        tls=_tls(given, hosts),
        driver={name: value for name, value in given.items() if name in _DRIVER},
        server_settings=_server_settings(given),
        connect_timeout=_connect_timeout(given),
        prepared_statements=_prepared_statements(given),
    )


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters under libpq's names. Only percent escapes are decoded; libpq treats `+` as a plus sign."""
    given: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, _, value = (_decode(part) for part in item.partition("="))
        name, value = _canonical(name, value)
        _check(name, value)
        if name == "host" and name in given:  # SQLAlchemy repeats it for each server
            value = f"{given[name]},{value}"
        if value:
            given[name] = value
    return given


def _canonical(name: str, value: str) -> tuple[str, str]:
    """Convert a parameter of JDBC, SQLAlchemy or asyncpg to libpq's name and value."""
    if name == "ssl":
        return "sslmode", {"true": "require"}.get(value, value)
    if name == "database":
        return "dbname", value
    if name in _CACHE_SIZES:
        return "prepared_statements", {"0": "false"}.get(value, value)
    return name, value


def _check(name: str, value: str) -> None:
    if name not in _SUPPORTED:
        if not re.fullmatch(r"[A-Za-z_]{1,40}", name):
            raise ValueError(f"has a malformed parameter; {_ESCAPES}")
        raise ValueError(f"has the parameter {name}, which this service does not support; leave it out")
    choices = _CHOICES.get(name)
    if choices and value and value not in choices:
        raise ValueError(f"has an unsupported {name}; choose from {', '.join(choices)}")


def _hosts(hosts: str, given: Mapping[str, str]) -> tuple[Host, ...]:
    """Return the servers in order. Parameters override the part before the path, as in libpq."""
    if "host" in given:
        found = [_host(item, in_query=True) for item in given["host"].split(",")]
    else:
        found = [_host(item) for item in hosts.split(",")]
    ports = [_port(item) for item in given["port"].split(",")] if "port" in given else []
    if len(ports) > 1 and len(ports) != len(found):
        raise ValueError("has several ports, but not one for each host")
    by_host: Iterable[int | None] = ports if len(ports) > 1 else repeat(ports[0] if ports else None)
    if len(found) > 1 and not all(host.name for host in found):
        raise ValueError("has an empty host among several")
    return tuple(Host(host.name, port or host.port) for host, port in zip(found, by_host, strict=False))


def _host(text: str, *, in_query: bool = False) -> Host:
    if in_query and (text.startswith("/") or text.count(":") > 1):  # a socket directory; IPv6 needs no brackets here
        return Host(text, None)
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError(f"has a malformed host or port; {_ESCAPES}")
    name = _decode(match["ipv6"] or match["name"] or "")
    if not name.startswith("/"):
        _check_name(name)
    return Host(name or None, _port(match["port"] or ""))


def _check_name(name: str) -> None:
    """Reject names that Python cannot look up, because IDNA has no empty labels, as in `db..example`."""
    try:
        name.encode("idna")
    except UnicodeError:
        raise ValueError("has a host that is not a valid name: its parts need 1 to 63 characters each") from None


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("has a port that is not a number from 1 to 65535")
    return int(text)


def _tls(given: Mapping[str, str], hosts: Iterable[Host]) -> dict[str, str]:
    """Return the TLS parameters.

    `channel_binding=require` demands proof that the connection is not intercepted. libpq gets it from
    SCRAM-SHA-256-PLUS, which asyncpg does not support. So the server's certificate serves as proof instead: it must be
    valid for the host, and issued by an authority that the system, or `sslrootcert`, trusts.
    """
    tls = {name: value for name, value in given.items() if name in _TLS}
    if given.get("channel_binding") == "require":
        if tls.get("sslmode") == "disable" or any((host.name or "/").startswith("/") for host in hosts):
            raise ValueError("has channel_binding=require, which needs TLS, but connects without it")
        tls = {"sslrootcert": SYSTEM_ROOTS, **tls, "sslmode": "verify-full"}
    if tls.get("sslrootcert") == SYSTEM_ROOTS and tls.setdefault("sslmode", "verify-full") != "verify-full":
        raise ValueError("has sslrootcert=system, which needs sslmode=verify-full")
    if tls.get("sslnegotiation") == "direct" and _SSL_MODES.index(tls.get("sslmode", "prefer")) < 3:
        raise ValueError("has sslnegotiation=direct, which needs sslmode=require, verify-ca or verify-full")
    return tls


def _server_settings(given: Mapping[str, str]) -> dict[str, str]:
    name = given.get("application_name") or given.get("fallback_application_name")
    settings = {"application_name": name, "options": given.get("options")}
    return {name: value for name, value in settings.items() if value}


def _connect_timeout(given: Mapping[str, str]) -> float | None:
    text = given.get("connect_timeout", "0")
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ValueError("has a connect_timeout that is not a whole number of seconds")
    return float(text) if int(text) > 0 else None  # to libpq, zero and less mean no limit


def _prepared_statements(given: Mapping[str, str]) -> bool | None:
    """Return whether the URI allows prepared statements, by Rails' parameter or by Prisma's `pgbouncer`."""
    if "prepared_statements" in given:
        return given["prepared_statements"] == "true"
    return False if given.get("pgbouncer") == "true" else None


def _decode(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:
        raise ValueError("has characters that are not UTF-8") from None
    if "\0" in decoded:
        raise ValueError("has a NUL character, which PostgreSQL does not accept")
    return decoded
