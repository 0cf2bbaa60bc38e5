"""PostgreSQL: migrations, one writer at a time, and every failure in one line without a secret."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, make_url, text

import store_servers
from modelworks.core.errors import (
    ConflictError,
    CorruptError,
    InvalidError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.db import failures, postgres, schema
from modelworks.db.engine import open_database
from modelworks.db.tables import Base, ModelRow, VersionRow

pytestmark = [pytest.mark.unit, pytest.mark.real]


@pytest.fixture
def empty(postgres_server):
    """The URL of a database without tables."""
    with postgres_server.database(empty=True) as url:
        yield url


def one_line(caught, *secrets):
    message = caught.value.message
    assert "\n" not in message
    for secret in secrets:
        assert secret not in message
    return message


# -- migrations


def test_migrated_equals_the_tables(empty):
    database = open_database(empty)
    with database.reader.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        indexes = {
            index["name"]
            for table in Base.metadata.tables
            for index in inspect(connection).get_indexes(table)
        }
    assert indexes == {i.name for t in Base.metadata.tables.values() for i in t.indexes}
    database.close()


def test_down_leaves_nothing_and_up_again_works(empty):
    database = open_database(empty)
    with database.writer.begin() as connection:
        schema.migrate(connection, "base", down=True)
    with database.reader.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    database.close()
    again = open_database(empty)
    with again.reader.connect() as connection:
        assert set(Base.metadata.tables) <= set(inspect(connection).get_table_names())
    again.close()


def test_a_migration_that_fails_leaves_the_old_schema(empty):
    engine = postgres.postgres_engine(postgres.parse(empty))

    def cut_off():
        with postgres.migrating(engine) as connection:
            schema.migrate(connection, schema.HEAD)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_off()
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()
    open_database(empty).close()


def test_many_open_an_empty_database_at_once(empty):
    with ThreadPoolExecutor(6) as pool:
        for database in pool.map(open_database, [empty] * 6):
            database.close()


def test_a_migration_under_way_is_waited_for_with_a_deadline(empty, monkeypatch):
    monkeypatch.setattr(postgres, "MIGRATION_MS", 200)
    engine = postgres.postgres_engine(postgres.parse(empty))
    with (
        postgres.migrating(engine),
        pytest.raises(UnavailableError, match="another process keeps it locked"),
    ):
        open_database(empty)
    engine.dispose()
    open_database(empty).close()


def test_newer_and_foreign_databases_are_refused(empty, postgres_server):
    name = make_url(empty).database
    postgres_server.run("CREATE TABLE songs (title TEXT)", name)
    with pytest.raises(CorruptError, match=r"another program \(songs\).*MODELWORKS_DATABASE"):
        open_database(empty)
    postgres_server.run("DROP TABLE songs", name)
    open_database(empty).close()
    postgres_server.run("UPDATE alembic_version SET version_num = '9999'", name)
    with pytest.raises(UnsupportedError, match=r"newer Modelworks.*9999"):
        open_database(empty)


# -- the same values as on SQLite


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_values_come_back_as_they_were(kind, request, tmp_path):
    place = tmp_path / "r.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    odd = {"nul": "a\0b", "half": "\ud800", "umlaut": "äöü 模型", "deep": [1.5, None, {"x": 2**62}]}
    with ExitStack() as stack:
        database = open_database(place)
        stack.callback(database.close)
        with database.tenant().write() as session:
            session.add(ModelRow(name="m", created_ns=2**63 - 1))
        with database.tenant().read() as session:
            assert session.get_one(ModelRow, ("default", "m")).created_ns == 2**63 - 1
        with database.every_tenant() as session:
            digest = "sha256:" + "0" * 64
            session.execute(
                text("INSERT INTO artifacts VALUES ('default', :digest, 1)"), {"digest": digest}
            )
            session.add(
                VersionRow(
                    tenant="default",
                    model="m",
                    major=999_999_999,
                    minor=0,
                    patch=0,
                    artifact=digest,
                    format="onnx",
                    signature=odd,
                    lineage={},
                    evidence=[odd],
                    parent="",
                    created_ns=1,
                    tags=["ä"],
                    labels={},
                )
            )
        with database.tenant().read() as session:
            row = session.get_one(VersionRow, ("default", "m", 999_999_999, 0, 0))
            assert row.signature == odd
            assert row.evidence == [odd]
            assert row.tags == ["ä"]


# -- what can be wrong with a server


@pytest.mark.parametrize(
    "text",
    [
        "mysql://ada:hush@db/registry",
        "postgresql+asyncpg://ada:hush@db/registry",
        "postgresql://ada:hush@db",
        "postgresql://ada:hush@db:port/registry",
        "sqlite://",
    ],
)
def test_urls_that_cannot_be_are_refused_and_not_repeated(text):
    with pytest.raises(InvalidError) as caught:
        open_database(text)
    assert "postgresql://user:password@host:5432/database" in one_line(caught, "hush", "ada")


def test_a_wrong_password_a_missing_user_and_a_missing_database(postgres_server, postgres_url):
    name = make_url(postgres_url).database
    with pytest.raises(UnavailableError, match="check user and password") as caught:
        open_database(postgres_server.url(name, "hush"))
    one_line(caught, "hush")
    with pytest.raises(UnavailableError, match="user") as caught:
        open_database(postgres_url.replace("modelworks:", "nobody:"))
    one_line(caught, postgres_server.password)
    with pytest.raises(UnavailableError, match="createdb") as caught:
        open_database(postgres_server.url("missing"))
    one_line(caught, postgres_server.password)
    with pytest.raises(UnavailableError, match="options in its URL") as caught:
        open_database(postgres_url + "?colour=red")
    one_line(caught, postgres_server.password)


def test_nobody_there():
    url = f"postgresql://ada:hush@127.0.0.1:{store_servers.free_port()}/registry"
    with pytest.raises(UnavailableError, match="check that the server runs") as caught:
        open_database(url)
    one_line(caught, "hush")


def test_a_database_that_is_read_only(postgres_server, postgres_url):
    name = make_url(postgres_url).database
    postgres_server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = open_database(postgres_url)
    with database.tenant().read():
        pass
    with (
        pytest.raises(UnavailableError, match=r"read-only.*primary") as caught,
        database.tenant().write() as session,
    ):
        session.add(ModelRow(name="m", created_ns=1))
    one_line(caught)
    database.close()


def test_no_connection_left(postgres_server, postgres_url):
    name = make_url(postgres_url).database
    postgres_server.run(f"CREATE ROLE limited_{name} LOGIN PASSWORD 'p' CONNECTION LIMIT 1")
    url = postgres_url.replace(f"modelworks:{postgres_server.password}", f"limited_{name}:p")
    postgres_server.run(f"GRANT ALL ON DATABASE {name} TO limited_{name}")
    with psycopg.connect(url), pytest.raises(UnavailableError, match="no connection left"):
        open_database(url)


def test_a_user_who_may_not_write(postgres_server, empty):
    name = make_url(empty).database
    postgres_server.run(f"CREATE ROLE guest_{name} LOGIN PASSWORD 'p'")
    url = empty.replace(f"modelworks:{postgres_server.password}", f"guest_{name}:p")
    postgres_server.run("REVOKE CREATE ON SCHEMA public FROM public", name)
    with pytest.raises(UnavailableError, match="this user may not do that") as caught:
        open_database(url)
    one_line(caught)


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("53100", UnavailableError, "disk is full"),
        ("53300", UnavailableError, "no connection left"),
        ("53200", UnavailableError, "out of resources"),
        ("40P01", UnavailableError, "got in the way"),
        ("57014", UnavailableError, "gave up"),
        ("57P03", UnavailableError, "stopped or started"),
        ("25P03", UnavailableError, "too long"),
        ("08006", UnavailableError, "connection broke"),
        ("23503", ConflictError, "refers to it"),
        ("XX001", CorruptError, "backup"),
    ],
)
def test_what_a_server_says_is_told_with_its_cure(state, kind, words):
    said = psycopg.errors.lookup(state)("first line\nDETAIL: second")
    error = failures.translate(said, "postgresql://db/r")
    assert type(error) is kind
    assert words in error.message
    assert "\n" not in error.message
