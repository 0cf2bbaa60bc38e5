"""SQL over records, by DuckDB in memory: it sees one table and no file."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
from pyarrow import dataset, parquet

from modelworks.core.errors import DeadlineError, InvalidError, NotFoundError
from modelworks.core.records import Scan
from modelworks.ext.records.files import LocalFiles
from modelworks.ext.records.partitions import Partitions
from modelworks.ext.records.places import Piece

_MEMORY: Final = "2GB"
_THREADS: Final = 2


def query(
    folder: Path, wanted: Scan, sql: str, most: int, seconds: float
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one SELECT over the table `records`.

    Args:
        folder: of a store of records.
        wanted: which hours and models are in the table; times and version are exact.
        sql: one SELECT; columns with a dot are written `"in.age"`.
        most: rows of the answer.
        seconds: after which it is given up.

    Returns:
        Names of the columns, and the rows.

    Raises:
        NotFoundError: there are no such records.
        InvalidError: no SELECT, or DuckDB refuses it; the message has its words.
        DeadlineError: it took too long.
    """
    partitions = Partitions(LocalFiles(folder), ("at_ns", "id", "item"))
    pieces = partitions.live(partitions.pieces(wanted))
    if not pieces:
        raise NotFoundError("there are no such records", field="model")
    config: dict[str, Any] = {"memory_limit": _MEMORY, "threads": _THREADS, "temp_directory": ""}
    with duckdb.connect(":memory:", config=config) as connection:
        for setting in ("enable_external_access=false", "lock_configuration=true"):
            connection.execute(f"SET {setting}")
        connection.register("records", _table(folder, pieces, wanted))
        try:
            statements = connection.extract_statements(sql)
            if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
                raise InvalidError("one SELECT is wanted, and nothing else", field="sql")
            stop = threading.Timer(seconds, connection.interrupt)
            stop.start()
            try:
                answer = connection.execute(statements[0])
                names = [str(one[0]) for one in answer.description or ()]
                return names, answer.fetchmany(most)
            finally:
                stop.cancel()
        except duckdb.InterruptException as error:
            raise DeadlineError(
                f"the query took over {seconds:.0f} s: narrow it with --since or --model"
            ) from error
        except duckdb.Error as error:
            line = " ".join(str(error).split())[:300]
            raise InvalidError(f"DuckDB refuses the query: {line}", field="sql") from error


def _table(folder: Path, pieces: Sequence[Piece], wanted: Scan) -> Any:
    """The files as one table; a column's type is what all of them fit into."""
    paths = [str(folder / piece.path) for piece in pieces]
    try:
        schema = pa.unify_schemas(
            [parquet.read_schema(path).remove_metadata() for path in paths],
            promote_options="permissive",
        )
    except pa.ArrowException as error:
        raise InvalidError(
            f"columns of one name have types that do not go together ({error}): name one --model, "
            "or a shorter time",
            field="model",
        ) from error
    times = dataset.field("at_ns")
    asked = (times >= wanted.since_ns) & (times < wanted.until_ns)
    if wanted.version:
        asked &= dataset.field("version") == wanted.version
    return dataset.dataset(paths, schema=schema, format="parquet").filter(asked)
