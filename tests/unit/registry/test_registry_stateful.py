"""Random sequences of verbs against a model of the registry in plain dictionaries."""

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from modelworks.blobs.store import BlobStore
from modelworks.core.errors import ConflictError, NotFoundError
from modelworks.core.home import Home
from modelworks.core.model import Lineage
from modelworks.core.semver import Bump, Semver
from modelworks.db.engine import open_database
from modelworks.db.tables import Base
from modelworks.registry.service import Registry
from modelworks.testing.candidates import candidate, signature
from properties import examples

pytestmark = [pytest.mark.unit, pytest.mark.timeout(600)]  # servers come with the first test

NAMES = st.sampled_from(["fraud", "churn"])
ALIASES = st.sampled_from(["champion", "challenger"])
NUMBERS = st.builds(Semver, st.integers(0, 2), st.integers(0, 2), st.integers(0, 1))


class RegistryMachine(RuleBasedStateMachine):
    """`live`, `gone`, `pointing` and `moves` are what the registry must agree with."""

    def __init__(self, stores, round_):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="stateful-"))
        home = Home(self.folder / "home").create()
        self.database = open_database(stores.database or home.database)
        with self.database.writer.begin() as connection:  # of the round before
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
        place = f"{stores.artifacts}/{round_}" if stores.artifacts else home.blobs
        self.blobs = BlobStore(place, stores.access)
        self.now = 1000
        self.registry = Registry(
            self.database.tenant(), self.blobs, home.cache, "ada", lambda: self.now
        )
        self.live: dict[str, dict[Semver, tuple[bytes, int, str]]] = {}
        self.gone: dict[str, dict[Semver, int]] = {}
        self.pointing: dict[tuple[str, str], Semver] = {}
        self.moves: list[tuple[str, str, Semver | None, int]] = []

    def teardown(self):
        self.database.close()
        shutil.rmtree(self.folder)

    versions = Bundle("versions")

    def expected(self, name, features, explicit, bump):
        if explicit is not None:
            return explicit
        known = {n: f for n, (_, f, _) in self.live.get(name, {}).items()} | self.gone.get(name, {})
        if not known:
            return Semver(1, 0, 0)
        last = max(known)
        if bump is None:
            bump = Bump.MINOR if known[last] == features else Bump.MAJOR
        return last.bump(bump)

    def move(self, name, alias, number):
        if self.pointing.get((name, alias)) == number:
            return
        self.moves.append((name, alias, number, self.now))
        if number is None:
            del self.pointing[name, alias]
        else:
            self.pointing[name, alias] = number

    @rule(
        target=versions,
        name=NAMES,
        content=st.binary(min_size=1, max_size=2),
        features=st.integers(1, 2),
        explicit=st.none() | NUMBERS,
        bump=st.none() | st.sampled_from(Bump),
        alias=st.just("") | ALIASES,
        parent=st.just("") | NAMES,
    )
    def publish(self, name, content, features, explicit, bump, alias, parent):
        self.now += 1
        bump = None if explicit else bump
        number = self.expected(name, features, explicit, bump)
        wanted = candidate(
            self.folder / "work",
            content,
            name,
            signature=signature(features),
            version=explicit,
            bump=bump,
            alias=alias,
            lineage=Lineage(parent=parent),
        )
        if parent and not self.live.get(parent):
            with pytest.raises(NotFoundError):
                self.registry.publish(wanted)
            return name, number
        if number in self.live.get(name, {}) or number in self.gone.get(name, {}):
            with pytest.raises(ConflictError):
                self.registry.publish(wanted)
            return name, number
        pinned = f"{parent}:{max(self.live[parent])}" if parent else ""
        made = self.registry.publish(wanted)
        assert (made.name, made.version, made.lineage.parent) == (name, number, pinned)
        self.live.setdefault(name, {})[number] = (content, features, pinned)
        if alias:
            self.move(name, alias, number)
        return name, number

    @rule(version=versions, alias=ALIASES)
    def point(self, version, alias):
        self.now += 1
        name, number = version
        if number not in self.live.get(name, {}):
            with pytest.raises(NotFoundError):
                self.registry.set_alias(name, alias, str(number))
            return
        self.registry.set_alias(name, alias, str(number))
        self.move(name, alias, number)

    @rule(name=NAMES, alias=ALIASES)
    def unpoint(self, name, alias):
        self.now += 1
        if (name, alias) not in self.pointing:
            with pytest.raises(NotFoundError):
                self.registry.remove_alias(name, alias)
            return
        self.registry.remove_alias(name, alias)
        self.move(name, alias, None)

    @rule(version=versions, whole=st.booleans())
    def delete(self, version, whole):
        self.now += 1
        name, number = version
        line = self.live.get(name, {})
        doomed = set(line) if whole else {number} & line.keys()
        ref = name if whole else f"{name}:{number}"
        if not doomed:
            with pytest.raises(NotFoundError):
                self.registry.delete(ref)
            return
        refs = {f"{name}:{n}" for n in doomed}
        blocked = any(at in doomed for (n, _), at in self.pointing.items() if n == name) or any(
            parent in refs and f"{n}:{v}" not in refs
            for n, others in self.live.items()
            for v, (_, _, parent) in others.items()
        )
        if blocked:
            with pytest.raises(ConflictError):
                self.registry.delete(ref)
            return
        assert set(self.registry.delete(ref)) == refs
        for n in doomed:
            self.gone.setdefault(name, {})[n] = line.pop(n)[1]

    @rule()
    def collect(self):
        self.registry.collect()
        contents = {c for line in self.live.values() for c, _, _ in line.values()}
        assert len(list(self.blobs.list())) == len(contents)

    @invariant()
    def agrees(self):
        found = {m.name: m for m in self.registry.models()}
        wanted = {name: line for name, line in self.live.items() if line}
        assert found.keys() == wanted.keys()
        for name, line in wanted.items():
            assert (found[name].versions, found[name].latest) == (len(line), max(line))
            pointing = {a: v for (n, a), v in self.pointing.items() if n == name}
            assert {a.name: a.version for a in found[name].aliases} == pointing

    @invariant()
    def keeps_every_byte(self):
        for name, line in self.live.items():
            for number in line:
                assert self.registry.verify(f"{name}:{number}").ok

    @invariant()
    def remembers_every_move(self):
        for name in {move[0] for move in self.moves}:
            kept = [(c.alias, c.version, c.at_ns) for c in self.registry.history(name)]
            assert kept == [(a, v, at) for n, a, v, at in self.moves if n == name]


def test_whatever_the_order_of_verbs(stores):
    rounds = itertools.count()
    run_state_machine_as_test(
        lambda: RegistryMachine(stores, next(rounds)),
        settings=examples(6 if stores.database else 12, stateful_step_count=15),
    )
