"""PostgreSQL under several processes: migrated by all at once, restarted, a writer killed."""

import signal
import subprocess
import sys

import pytest

import store_servers
from modelworks.core.errors import UnavailableError
from modelworks.db.engine import open_database
from modelworks.db.tables import ModelRow

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


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


def test_processes_open_an_empty_database_at_once(empty):
    code = (
        "import sys\nfrom modelworks.db.engine import open_database\n"
        "sys.stdin.readline()\nopen_database(sys.argv[1]).close()\n"
    )
    openers = [
        subprocess.Popen([sys.executable, "-c", code, empty], stdin=subprocess.PIPE)
        for _ in range(3)
    ]
    for opener in openers:
        opener.stdin.write(b"go\n")
        opener.stdin.flush()
    assert [opener.wait(60) for opener in openers] == [0, 0, 0]
    for opener in openers:
        opener.stdin.close()
    open_database(empty).close()


@pytest.fixture
def own_server():
    with store_servers.postgres() as server:
        yield server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_restarts_is_found_again(own_server, number):
    own_server.run("CREATE DATABASE registry")
    database = open_database(own_server.url("registry"))

    def add(name):
        with database.tenant().write() as session:
            session.add(ModelRow(name=name, created_ns=1))

    def cut_off():
        with database.tenant().write() as session:
            session.add(ModelRow(name="lost", created_ns=1))
            session.flush()
            own_server.stop(number)

    add("before")
    with pytest.raises(UnavailableError) as caught:
        cut_off()
    one_line(caught, own_server.password)
    with pytest.raises(UnavailableError, match="check that the server runs") as caught:
        add("while away")
    one_line(caught, own_server.password)
    own_server.start()
    add("after")
    with database.tenant().read() as session:
        assert session.get(ModelRow, ("default", "lost")) is None
        assert session.get(ModelRow, ("default", "before")) is not None
        assert session.get(ModelRow, ("default", "after")) is not None
    database.close()


def test_a_killed_writer_gives_its_lock_back(postgres_url):
    code = (
        "import sys\nfrom modelworks.db.engine import open_database\n"
        "with open_database(sys.argv[1]).tenant().write():\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    process.kill()
    process.communicate()
    database = open_database(postgres_url)
    with database.tenant().write() as session:
        session.add(ModelRow(name="m", created_ns=1))
    database.close()
