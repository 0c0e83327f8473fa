"""`DATABASE_URL`: parsing libpq's connection URIs, and what is rejected."""

from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.database_url import Host, parse, validate
from tests.support.authority import Authority
from tests.support.examples import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,10})?", fullmatch=True)
ADDRESSES = st.ip_addresses(v=6).map(str)
SOCKETS = TEXT.map(lambda rest: f"/{rest}").filter(lambda folder: "," not in folder)
PORTS = st.none() | st.integers(1, 65535)
BASE = "postgres://cook:p4ncakes@db.example.com/recipes"


def with_parameters(parameters: str) -> str:
    return f"{BASE}?{parameters}"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_any_scheme_of_postgresql_is_accepted(scheme: str) -> None:
    found = parse(f"{scheme}://cook:p%40n%2Fc%25k%3Aes+%5B1%5D@db.example.com:5433/recipes")

    assert found.hosts == (Host("db.example.com", 5433),)
    assert (found.user, found.password, found.database) == ("cook", "p@n/c%k:es+[1]", "recipes")
    assert found.tls == found.driver == found.server_settings == {}
    assert (found.connect_timeout, found.prepared_statements) == (None, None)


@pytest.mark.parametrize(
    ("uri", "hosts"),
    [
        ("postgres:///recipes", [(None, None)]),
        ("postgres://:5433/recipes", [(None, 5433)]),
        ("postgres://db/recipes", [("db", None)]),
        ("postgres://db:/recipes", [("db", None)]),
        ("postgres://db1:5432,db2:5433,db3/recipes", [("db1", 5432), ("db2", 5433), ("db3", None)]),
        ("postgres://db1,db2/recipes?port=6432", [("db1", 6432), ("db2", 6432)]),
        ("postgres:///recipes?host=db1,db2&port=5432,6432", [("db1", 5432), ("db2", 6432)]),
        ("postgres:///recipes?host=db1:5432&host=db2:5433", [("db1", 5432), ("db2", 5433)]),
        ("postgres://other/recipes?host=db", [("db", None)]),
        ("postgres://[2001:db8::1]:5432/recipes", [("2001:db8::1", 5432)]),
        ("postgres://[fe80::1%25eth0],db/recipes", [("fe80::1%eth0", None), ("db", None)]),
        ("postgres:///recipes?host=2001:db8::1&port=5432", [("2001:db8::1", 5432)]),
        ("postgres:///recipes?host=/var/run/postgresql", [("/var/run/postgresql", None)]),
        ("postgres://cook@/recipes?host=/run/my%20sockets&port=5433", [("/run/my sockets", 5433)]),
        ("postgres://%2Fvar%2Frun%2Fpostgresql/recipes", [("/var/run/postgresql", None)]),
    ],
)
def test_hosts_are_names_addresses_and_folders_of_sockets(uri: str, hosts: list[tuple[str, int]]) -> None:
    assert parse(uri).hosts == tuple(Host(*host) for host in hosts)


@settings(max_examples=examples(200))
@given(
    user=TEXT,
    password=TEXT,
    database=TEXT,
    hosts=st.lists(st.tuples(NAMES | ADDRESSES | SOCKETS, PORTS), min_size=1, max_size=3),
)
def test_escaped_components_are_decoded(
    user: str, password: str, database: str, hosts: list[tuple[str, int | None]]
) -> None:
    expected = tuple(Host(*host) for host in hosts)
    authority = ",".join(
        (f"[{host.name}]" if ":" in (host.name or "") and "/" not in (host.name or "") else quote(host.name or "", ""))
        + (f":{host.port}" if host.port else "")
        for host in expected
    )

    found = parse(f"postgresql://{quote(user, '')}:{quote(password, '')}@{authority}/{quote(database, '')}")

    assert (found.user, found.password, found.database, found.hosts) == (user, password, database, expected)


@settings(max_examples=examples(200))
@given(user=TEXT, password=TEXT, database=TEXT, application=TEXT, options=TEXT)
def test_escaped_parameters_are_decoded(
    user: str, password: str, database: str, application: str, options: str
) -> None:
    given_ = {"user": user, "password": password, "dbname": database}
    given_ |= {"application_name": application, "options": options}
    query = "&".join(f"{name}={quote(value, '')}" for name, value in given_.items())

    found = parse(f"postgresql://?{query}")

    assert (found.user, found.password, found.database) == (user, password, database)
    assert found.server_settings == {"application_name": application, "options": options}


@given(st.text() | st.text().map(lambda rest: f"postgres://{rest}") | st.text().map(with_parameters))
@settings(max_examples=examples(300))
def test_any_other_text_is_rejected_or_names_a_database(uri: str) -> None:
    try:
        found = parse(uri)
    except ValueError:
        return
    assert found.database or "service" in found.driver


def test_no_secret_appears_in_the_representation() -> None:
    shown = repr(parse("postgres://cook:s3cr3t@db/recipes?sslpassword=s3cr3t"))

    assert "cook" in shown
    assert "s3cr3t" not in shown


def test_a_plus_sign_is_not_decoded_as_a_space() -> None:
    found = parse("postgres://c+k:p+w@db/my+recipes?application_name=a+b&options=-c%20geqo%3Doff")

    assert (found.user, found.password, found.database) == ("c+k", "p+w", "my+recipes")
    assert found.server_settings == {"application_name": "a+b", "options": "-c geqo=off"}


def test_an_application_name_takes_precedence_over_a_fallback_name() -> None:
    assert parse(with_parameters("fallback_application_name=a")).server_settings == {"application_name": "a"}
    found = parse(with_parameters("fallback_application_name=a&application_name=b"))
    assert found.server_settings == {"application_name": "b"}


def test_parameters_that_asyncpg_supports_are_passed_on() -> None:
    found = parse(
        with_parameters(
            "passfile=/p&service=s&target_session_attrs=read-write&krbsrvname=k&gsslib=gssapi"
            "&sslmode=verify-ca&sslcert=/c&sslkey=/k&sslpassword=w&sslrootcert=/r&sslcrl=/l&sslnegotiation=direct"
            "&ssl_min_protocol_version=TLSv1.2&ssl_max_protocol_version=TLSv1.3"
        )
    )

    assert found.driver == {
        "passfile": "/p",
        "service": "s",
        "target_session_attrs": "read-write",
        "krbsrvname": "k",
        "gsslib": "gssapi",
    }
    assert found.tls == {
        "sslmode": "verify-ca",
        "sslcert": "/c",
        "sslkey": "/k",
        "sslpassword": "w",
        "sslrootcert": "/r",
        "sslcrl": "/l",
        "sslnegotiation": "direct",
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_max_protocol_version": "TLSv1.3",
    }


@pytest.mark.parametrize(
    "parameters", ["sslmode=", "gssencmode=prefer", "client_encoding=UTF8", "channel_binding=prefer"]
)
def test_parameters_that_request_the_default_change_nothing(parameters: str) -> None:
    assert parse(with_parameters(parameters)) == parse(BASE)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("1", 1), ("0", None), ("-1", None)], ids=["ten", "one", "zero", "negative"]
)
def test_the_connect_timeout_is_at_least_one_second(text: str, seconds: float | None) -> None:
    assert parse(with_parameters(f"connect_timeout={text}")).connect_timeout == seconds


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("prepared_statements=true", True),
        ("prepared_statements=false", False),
        ("pgbouncer=true", False),
        ("pgbouncer=false", None),
        ("statement_cache_size=0", False),
        ("prepared_statement_cache_size=0", False),
    ],
)
def test_prepared_statements_are_controlled_by_the_names_that_other_drivers_use(
    parameters: str, expected: object
) -> None:
    assert parse(with_parameters(parameters)).prepared_statements is expected


class TestTls:
    @pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
    def test_has_libpqs_modes(self, mode: str) -> None:
        assert parse(with_parameters(f"sslmode={mode}")).tls == {"sslmode": mode}

    @pytest.mark.parametrize(("value", "mode"), [("true", "require"), ("verify-full", "verify-full")])
    def test_may_be_set_as_ssl(self, value: str, mode: str) -> None:
        assert parse(with_parameters(f"ssl={value}")).tls == {"sslmode": mode}

    @pytest.mark.parametrize("mode", ["", "&sslmode=require", "&sslmode=verify-ca", "&sslmode=verify-full"])
    def test_verifies_the_server_if_channel_binding_is_required(self, mode: str) -> None:
        found = parse(with_parameters(f"channel_binding=require{mode}"))

        assert found.tls == {"sslmode": "verify-full", "sslrootcert": "system"}

    def test_verifies_the_server_against_the_configured_authorities(self) -> None:
        found = parse(with_parameters("sslmode=require&channel_binding=require&sslrootcert=/r"))

        assert found.tls == {"sslmode": "verify-full", "sslrootcert": "/r"}

    def test_verifies_the_host_name_with_the_systems_authorities(self) -> None:
        assert parse(with_parameters("sslrootcert=system")).tls == {"sslmode": "verify-full", "sslrootcert": "system"}

    @pytest.mark.parametrize(
        "uri",
        [
            with_parameters("channel_binding=require&sslmode=disable"),
            "postgres:///recipes?host=/run/postgresql&channel_binding=require",
            "postgres:///recipes?channel_binding=require",
        ],
    )
    def test_cannot_be_off_if_channel_binding_is_required(self, uri: str) -> None:
        with pytest.raises(ValueError, match="channel_binding=require"):
            parse(uri)

    @pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca"])
    def test_cannot_be_weak_with_the_systems_authorities(self, mode: str) -> None:
        with pytest.raises(ValueError, match="needs sslmode=verify-full"):
            parse(with_parameters(f"sslrootcert=system&sslmode={mode}"))

    @pytest.mark.parametrize("mode", ["", "&sslmode=disable", "&sslmode=prefer"])
    def test_cannot_be_direct_and_optional(self, mode: str) -> None:
        with pytest.raises(ValueError, match="sslnegotiation=direct"):
            parse(with_parameters(f"sslnegotiation=direct{mode}"))


@pytest.mark.parametrize(
    "name",
    [
        *("hostaddr", "keepalives_idle", "require_auth", "replication", "load_balance_hosts", "requirepeer"),
        *("sslcompression", "tcp_user_timeout", "connection_limit", "sslfactory", "schema"),
    ],
)
def test_an_unsupported_parameter_is_rejected_and_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"has the parameter {name}, which this service does not support"):
        parse(with_parameters(f"sslmode=require&{name}=1"))


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ("sslmode=perhaps", "unsupported sslmode; choose from disable, allow, prefer, require, verify-ca, verify-full"),
        ("channel_binding=always", "unsupported channel_binding; choose from disable, prefer, require"),
        ("target_session_attrs=replica", "unsupported target_session_attrs; choose from any, read-write,"),
        ("gssencmode=require", "unsupported gssencmode; choose from disable, prefer"),
        ("client_encoding=LATIN1", "unsupported client_encoding"),
        ("prepared_statements=maybe", "unsupported prepared_statements; choose from true, false"),
        ("statement_cache_size=50", "unsupported prepared_statements"),
        ("connect_timeout=soon", "connect_timeout that is not a whole number of seconds"),
        ("port=0", "port that is not a number from 1 to 65535"),
        ("port=65536", "port that is not a number from 1 to 65535"),
        ("port=5432,5433", "several ports, but not one for each host"),
        ("host=db1,", "an empty host among several"),
        ("host=a:b", "malformed host or port"),
        ("host=db..example.com", "host that is not a valid name"),
        ("a b=c", "malformed parameter"),
        ("application_name=%ff", "not UTF-8"),
        ("application_name=%00", "NUL character"),
    ],
)
def test_an_unsupported_value_is_rejected_and_its_parameter_named(parameters: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(with_parameters(parameters))


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("mysql://cook@db/recipes", "must begin with postgres:// or postgresql://"),
        ("postgres://db", "must name a database"),
        ("postgres://db/", "must name a database"),
        ("recipes", "not a valid connection URI"),
        ("host=db dbname=recipes", "not a valid connection URI"),
        ("postgres://db/recipes#1", "not a valid connection URI"),
        ("postgres://cook:p@4@db/recipes", "write @ : / . # % as %40"),
        ("postgres://cook:p4@db:port/recipes", "malformed host or port"),
        ("postgres://cook:p4@[::1/recipes", "malformed host or port"),
        ("postgres://cook:p4@.db/recipes", "host that is not a valid name"),
        (f"postgres://cook:p4@{'d' * 64}/recipes", "host that is not a valid name"),
        ("postgres://cook:p4\udcff@db/recipes", "not UTF-8"),
    ],
)
def test_a_malformed_uri_is_rejected(uri: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(uri)


class TestFiles:
    def test_that_can_be_loaded_are_accepted(self, authority: Authority) -> None:
        uri = with_parameters(f"sslmode=verify-full&sslrootcert={quote(str(authority.bundle))}")

        assert validate(uri) == uri
        assert validate(with_parameters("sslrootcert=system"))

    @pytest.mark.parametrize("name", ["sslrootcert", "sslcrl", "sslcert"])
    @pytest.mark.parametrize("content", [None, "no certificate"], ids=["absent", "not PEM"])
    def test_that_cannot_be_loaded_are_named(self, tmp_path: Path, name: str, content: str | None) -> None:
        file = tmp_path / "file.pem"
        if content:
            file.write_text(content)

        with pytest.raises(ValueError, match=f"has an {name} .*that is not a readable file in PEM format"):
            validate(with_parameters(f"sslmode=require&{name}={quote(str(file))}"))

    def test_are_loaded_with_the_password_of_the_key(self, authority: Authority, tmp_path: Path) -> None:
        certificate = authority.bundle.with_name("server.pem")  # and its key
        key = tmp_path / "key.pem"
        private = serialization.load_pem_private_key(certificate.read_bytes(), None)
        encryption = serialization.BestAvailableEncryption(b"not-a-real-secret")
        key.write_bytes(
            private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        uri = with_parameters(f"sslmode=require&sslcert={quote(str(certificate))}&sslkey={quote(str(key))}")

        assert validate(f"{uri}&sslpassword=not-a-real-secret")
        with pytest.raises(ValueError, match="sslcert or sslkey"):
            validate(f"{uri}&sslpassword=another")
