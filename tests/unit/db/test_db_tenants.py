"""No statement reaches another tenant's rows, whatever its author forgot."""

import ast
import contextlib
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, text, union_all, update
from sqlalchemy.orm import aliased

import modelworks
from modelworks.core.errors import ConflictError, CrashedError, UnavailableError
from modelworks.db import postgres
from modelworks.db.engine import open_database
from modelworks.db.session import TenantSession
from modelworks.db.tables import AliasRow, Base, ModelRow

pytestmark = pytest.mark.unit


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def place(request, tmp_path):
    """An address of an empty database, of both kinds."""
    if request.param == "sqlite":
        return tmp_path / "registry.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def database(place):
    database = open_database(place)
    for tenant, names in {"red": ("a", "b"), "blue": ("a", "c", "d")}.items():
        with database.tenant(tenant).write() as session:
            for name in names:
                session.add(ModelRow(name=name, created_ns=1))
    yield database
    database.close()


def names(database, tenant):
    with database.tenant(tenant).read() as session:
        return sorted(session.scalars(select(ModelRow.name)))


def test_rows_are_stamped_and_filtered(database):
    assert names(database, "red") == ["a", "b"]
    assert names(database, "blue") == ["a", "c", "d"]
    assert names(database, "green") == []


def test_every_shape_of_select_is_filtered(database):
    other = aliased(ModelRow)
    inner = select(ModelRow.name).where(ModelRow.name == "d").scalar_subquery()
    with database.tenant("red").read() as session:
        assert session.scalar(select(func.count(ModelRow.name))) == 2
        assert session.scalar(select(func.count()).select_from(ModelRow)) == 2
        assert session.scalar(select(func.max(ModelRow.name))) == "b"
        assert len(session.scalars(select(other)).all()) == 2
        joined = select(ModelRow.name, other.name).join(other, other.name >= ModelRow.name)
        assert len(session.execute(joined).all()) == 3
        assert session.scalar(select(inner)) is None
        there = select(other.name).where(other.name == "d").exists()
        assert session.scalars(select(ModelRow.name).where(there)).all() == []
        both = union_all(select(ModelRow.name), select(other.name))
        with contextlib.suppress(CrashedError):  # refused would be as good
            assert len(session.execute(both).all()) == 4
        assert session.get(ModelRow, ("red", "a")) is not None


def test_get_with_another_tenants_key_finds_nothing(database):
    with database.tenant("red").read() as session:
        assert session.get(ModelRow, ("blue", "c")) is None


def test_update_and_delete_are_filtered(database):
    with database.tenant("red").write() as session:
        session.execute(update(ModelRow).values(created_ns=7))
        session.execute(delete(ModelRow).where(ModelRow.name == "a"))
    assert names(database, "red") == ["b"]
    with database.tenant("blue").read() as session:
        assert set(session.scalars(select(ModelRow.created_ns))) == {1}
    assert names(database, "blue") == ["a", "c", "d"]


@pytest.mark.parametrize(
    "statement",
    [
        text("SELECT * FROM models"),
        select(Base.metadata.tables["models"]),
        insert(ModelRow).values(tenant="blue", name="x", created_ns=1),
        delete(Base.metadata.tables["models"]),
    ],
    ids=["text", "core select", "insert", "core delete"],
)
def test_what_cannot_be_filtered_is_refused(database, statement):
    with pytest.raises(CrashedError), database.tenant("red").write() as session:
        session.execute(statement)
    assert names(database, "blue") == ["a", "c", "d"]


def test_a_row_of_another_tenant_is_refused(database):
    with (
        pytest.raises(CrashedError, match="another tenant"),
        database.tenant("red").write() as session,
    ):
        session.add(ModelRow(tenant="blue", name="x", created_ns=1))
    assert names(database, "blue") == ["a", "c", "d"]


def test_a_session_without_a_tenant_is_refused(database):
    with pytest.raises(CrashedError):
        TenantSession(database.reader, "")


def test_stores_do_not_go_around_the_session():
    root = Path(modelworks.__file__).parent
    stores = sorted([*root.glob("**/store.py"), *root.glob("**/store/*.py")])
    assert {root / "deploy" / "store.py", root / "registry" / "store" / "__init__.py"} <= {*stores}
    for path in stores:
        calls = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        around = {
            "connection",
            "get_bind",
            "bulk_insert_mappings",
            "bulk_save_objects",
            "__table__",
        }
        assert not calls & (around | {"commit", "exec_driver_sql"}), path


def test_writes_are_all_or_nothing(database):
    def half_way():
        with database.tenant("red").write() as session:
            session.add(ModelRow(name="x", created_ns=1))
            session.flush()
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        half_way()
    assert names(database, "red") == ["a", "b"]


def test_a_read_is_one_snapshot(database):
    with database.tenant("red").read() as reading:
        before = sorted(reading.scalars(select(ModelRow.name)))
        with database.tenant("red").write() as session:
            session.add(ModelRow(name="x", created_ns=1))
        assert sorted(reading.scalars(select(ModelRow.name))) == before
    assert names(database, "red") == ["a", "b", "x"]


def test_what_a_read_changes_is_not_kept(database):
    with database.tenant("red").read() as session:
        session.add(ModelRow(name="x", created_ns=1))
        session.flush()
    assert names(database, "red") == ["a", "b"]


def test_keys_between_tables_hold(database):
    with pytest.raises(ConflictError), database.tenant("red").write() as session:
        session.add(AliasRow(model="a", alias="champion", major=1, minor=0, patch=0, since_ns=1))


def test_a_second_writer_waits_and_then_says_so(database, place, monkeypatch):
    monkeypatch.setattr("modelworks.db.sqlite.BUSY_MS", 50)
    monkeypatch.setitem(postgres._SESSION, "lock_timeout", 50)
    impatient = open_database(place)
    with database.tenant("red").write():
        with pytest.raises(UnavailableError, match="locked"), impatient.tenant("blue").write():
            pytest.fail("two writers at once")
        with impatient.tenant("blue").read() as session:  # readers never wait
            assert session.scalar(select(func.count(ModelRow.name))) == 3
    impatient.close()
