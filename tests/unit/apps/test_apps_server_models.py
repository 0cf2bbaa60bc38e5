"""What the server's settings say about many models."""

import pytest

from modelworks.apps.server_models import memory_bytes, policy_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.core.errors import InvalidError
from modelworks.core.served import Isolation

pytestmark = pytest.mark.unit


def read(*arguments, **environ):
    variables = {f"MODELWORKS_SERVER_{name}": value for name, value in environ.items()}
    return policy_of(ServerSettings.read(("--served", "run/list.json", *arguments), variables))


def test_without_a_word_loads_are_held_against_what_the_system_has():
    found = read()
    assert found.limited
    assert found.memory_bytes == 0
    assert not found.lazy
    assert found.isolation is None
    assert found.footprints.name == "footprints.json"
    assert found.footprints.parent.name == "run"


def test_everything_can_be_said_by_option_and_by_variable():
    by_option = read(
        *("--memory-limit", "4GB", "--pin", "a, b", "--lazy", "--isolation", "process")
    )
    by_variable = read(MEMORY_LIMIT="4GB", PIN="a,b", LAZY="1", ISOLATION="process")
    assert by_option == by_variable
    assert by_option.memory_bytes == 4_000_000_000
    assert by_option.pinned == {"a", "b"}
    assert by_option.isolation is Isolation.PROCESS
    assert by_option.lazy
    assert not read(MEMORY_LIMIT="none").limited


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 0),
        ("100000000", 100_000_000),
        ("512MiB", 512 << 20),
        ("1.5 GiB", 3 << 29),
        ("2g", 2 * 10**9),
        ("100mb", 10**8),
        ("1TB", 10**12),
    ],
)
def test_sizes(text, size):
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({"MEMORY_LIMIT": "much"}, "memory_limit"),
        ({"MEMORY_LIMIT": "-1GB"}, "memory_limit"),
        ({"MEMORY_LIMIT": "63MiB"}, "memory_limit"),
        ({"ISOLATION": "fork"}, "isolation"),
        ({"PIN": "no name!"}, "name"),
        ({"LAZY": "yes"}, "MODELWORKS_SERVER_LAZY"),
    ],
)
def test_what_is_refused_names_its_setting(environ, field):
    with pytest.raises(InvalidError) as caught:
        read(**environ)
    assert caught.value.field == field
