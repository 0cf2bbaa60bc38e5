"""Up, down, and equal to the tables; newer, foreign and damaged databases."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from modelworks.core.errors import CorruptError, UnavailableError, UnsupportedError
from modelworks.db import schema, sqlite
from modelworks.db.engine import open_database
from modelworks.db.tables import Base

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


def test_head_is_the_newest_migration():
    with resources.as_file(resources.files("modelworks.db") / "migrations") as folder:
        assert ScriptDirectory(str(folder)).get_current_head() == schema.HEAD


def test_migrated_equals_the_tables(path):
    database = open_database(path)
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


def test_different_databases_may_be_made_by_threads_of_one_process_at_once(tmp_path):
    paths = [tmp_path / f"{i}.db" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        for database in pool.map(open_database, paths):
            with database.reader.connect() as connection:
                assert set(Base.metadata.tables) <= set(inspect(connection).get_table_names())
            database.close()


def test_down_leaves_nothing_and_up_again_works(path):
    database = open_database(path)
    with database.writer.begin() as connection:
        schema.migrate(connection, "base", down=True)
    with database.reader.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    database.close()
    again = open_database(path)
    with again.reader.connect() as connection:
        assert set(Base.metadata.tables) <= set(inspect(connection).get_table_names())
    again.close()


def test_every_table_carries_its_tenant_first():
    for table in Base.metadata.tables.values():
        assert next(iter(table.columns)).name == "tenant", table.name
        assert table.primary_key.columns[0].name == "tenant", table.name


def test_a_migration_that_fails_leaves_the_old_schema(path):
    engine = sqlite.sqlite_engine(path)

    def cut_off():
        with sqlite.migrating(engine, path) as connection:
            schema.migrate(connection, schema.HEAD)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_off()
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()
    open_database(path).close()


def test_many_open_an_empty_home_at_once(path):
    with ThreadPoolExecutor(8) as pool:
        for database in pool.map(open_database, [path] * 8):
            database.close()


def test_opening_a_current_database_does_not_write(path):
    open_database(path).close()
    lock = path.with_name("registry.db.lock")
    lock.unlink()
    open_database(path).close()
    assert not lock.exists()


def test_newer_is_refused(path):
    database = open_database(path)
    with database.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(UnsupportedError, match=r"newer Modelworks.*9999.*upgrade modelworks"):
        open_database(path)


def test_tables_of_another_program_are_refused_and_kept(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(CorruptError, match=r"another program \(songs\)"):
        open_database(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    connection.close()


@pytest.mark.parametrize(
    "content", [b"this is no database at all" * 200, b"SQLite format 3\0junk" * 300]
)
def test_garbage_is_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(CorruptError) as caught:
        open_database(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    assert path.read_bytes() == content


def test_damaged_pages_are_one_line(path):
    database = open_database(path)
    database.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptError) as caught, open_database(path).tenant().read() as session:
        session.scalars(text("SELECT 1"))
    assert "\n" not in caught.value.message


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(UnavailableError, match="folder exists"):
        open_database(tmp_path / "none" / "registry.db")


def test_a_folder_instead_of_a_file(tmp_path):
    (tmp_path / "registry.db").mkdir()
    with pytest.raises(UnavailableError):
        open_database(tmp_path / "registry.db")


def test_a_migration_under_way_is_waited_for_with_a_deadline(path, monkeypatch):
    monkeypatch.setattr(sqlite, "LOCK_SECONDS", 0.2)
    lock = path.with_name("registry.db.lock")
    with sqlite._locked(lock), pytest.raises(UnavailableError, match="migrating"):
        open_database(path)
    open_database(path).close()
