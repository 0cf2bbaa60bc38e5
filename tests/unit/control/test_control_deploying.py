"""From a manifest to what runs, on a target that lives in memory."""

import shutil
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from memory_target import Killed, MemoryTarget, Place, RoutingTarget
from modelworks.control.deploying import targets
from modelworks.control.service import Factory
from modelworks.core.desired import State
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from modelworks.core.plans import Act
from modelworks.deploy import locks, reconcile, store
from modelworks.plugins import load
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.leaves import fields
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit


@pytest.fixture
def place(monkeypatch):
    found = Place()
    known = load.load

    def loaded(group, name):
        kinds = {"memory": MemoryTarget, "routing": RoutingTarget}
        return (lambda: kinds[name](found)) if name in kinds else known(group, name)

    monkeypatch.setattr(targets.load, "load", loaded)
    monkeypatch.setattr(reconcile.RealClock, "sleep", lambda _self, _seconds: None)
    return found


@pytest.fixture
def factory(home, tmp_path, place):
    with Factory(home, actor="ada") as factory:
        for content in (b"one", b"two", b"three"):
            factory.publish(candidate(tmp_path / "work", content, "fraud"))
        yield factory


@pytest.fixture
def verbs(factory):
    return factory.deploying


def manifest(name="fraud", metadata=(), **spec):
    document = {
        "apiVersion": "modelworks/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **dict(metadata)},
        "spec": {"model": "fraud:1.0.0", "target": "memory", **spec},
    }
    return [("modelworks.yaml", yaml.safe_dump(document).encode())]


def apply(verbs, *files, **spec):
    [done] = verbs.apply(*(files or (manifest(**spec),)), "", lambda _: None)
    return done


def act(verbs, **spec):
    [one] = verbs.plan(manifest(**spec)).documents
    return one


def test_create_update_scale_and_nothing(verbs, place):
    assert act(verbs).act is Act.CREATE
    done = apply(verbs)
    assert (done.state, done.revision, done.serving, done.url) == (
        State.READY,
        1,
        1,
        "memory://here",
    )
    assert act(verbs).act is Act.UNCHANGED
    scaled = act(verbs, replicas=3)
    assert (scaled.act, scaled.revision) == (Act.SCALE, 1)
    assert [(c.path, c.before, c.after) for c in scaled.changes] == [("spec.replicas", 1, 3)]
    assert apply(verbs, replicas=3).revision == 1
    assert len(place.running["fraud"]) == 3
    updated = act(verbs, model="fraud:1.1.0", replicas=3)
    assert (updated.act, updated.revision, updated.model) == (Act.UPDATE, 0, "fraud:1.1.0")
    assert ("version", "1.0.0", "1.1.0") in {(c.path, c.before, c.after) for c in updated.changes}
    assert "-fraud-1 x 3" in updated.native
    assert "+fraud-2 x 3" in updated.native
    assert apply(verbs, model="fraud:1.1.0", replicas=3).revision == 2
    assert {number for number, _ in place.running["fraud"]} == {2}


def test_twice_changes_nothing(verbs, place, factory):
    apply(verbs, replicas=2)
    before, running = verbs.one("fraud"), dict(place.running)
    again = apply(verbs, replicas=2)
    assert again.state is State.READY
    assert place.running == running
    assert verbs.one("fraud") == before
    assert len(factory.deploying.revisions("fraud")) == 1


def test_every_field_is_answered_with_its_place(verbs):
    found = act(verbs, replicas=2, environment={"A": "1"})
    said = {answer.path for answer in found.answers}
    every = {f"spec.{name}" for name in fields(DeploymentSpec) if "[]" not in name}
    assert every <= said
    assert {"metadata.name", "metadata.labels", "metadata.description"} <= said
    [replicas] = [one for one in found.answers if one.path == "spec.replicas"]
    assert replicas.place.startswith("modelworks.yaml:")
    assert not replicas.plain


def test_a_refused_field_stops_all_of_it(verbs, place):
    refused = act(verbs, resources={"gpu": 1})
    assert refused.act is Act.REFUSED
    with pytest.raises(
        InvalidError, match=r"modelworks.yaml:\d+:\d+: spec.resources.gpu: memory"
    ) as e:
        apply(verbs, resources={"gpu": 1})
    assert "no GPUs in memory" in e.value.message
    assert e.value.field == "spec.resources.gpu"
    assert not place.applied
    with pytest.raises(InvalidError, match="known are: zone"):
        apply(verbs, target={"type": "memory", "settings": {"zon": "x"}})


def test_what_does_not_exist_is_named_with_its_line(verbs):
    with pytest.raises(NotFoundError, match=r"modelworks.yaml:\d+:\d+: spec.model: .*fraud"):
        act(verbs, model="fraud:9.0.0")
    with pytest.raises(NotFoundError, match="installed"):
        act(verbs, target="moon")


def test_a_revision_that_fails_leaves_the_old_one(verbs, place):
    apply(verbs, replicas=2)
    place.broken.add("1.1.0")
    done = apply(verbs, model="fraud:1.1.0", replicas=2)
    assert done.state is State.FAILED
    assert (done.revision, done.serving) == (2, 1)
    assert "the model does not load" in done.message
    assert "revision 1 goes on" in done.message
    assert [number for number, _ in place.running["fraud"]] == [1, 1]
    assert verbs.one("fraud").state is State.FAILED
    assert act(verbs, model="fraud:1.1.0", replicas=2).act is Act.RETRY
    place.broken.clear()
    assert apply(verbs, model="fraud:1.1.0", replicas=2).state is State.READY
    assert verbs.one("fraud").serving == 2


def test_roll_back_to_the_one_before_or_any(verbs, place):
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        apply(verbs, model=f"fraud:{version}", replicas=2)
    done = verbs.roll_back("fraud", 0, lambda _: None)
    assert (done.state, done.serving) == (State.READY, 2)
    assert {number for number, _ in place.running["fraud"]} == {2}
    assert len(place.running["fraud"]) == 2
    assert verbs.roll_back("fraud", 3, lambda _: None).serving == 3
    with pytest.raises(NotFoundError, match="kept are 3, 2, 1"):
        verbs.roll_back("fraud", 7, lambda _: None)
    acts = [(one.actor, one.act, one.detail.get("revision")) for one in verbs.audited()]
    assert acts[:2] == [("ada", "roll-back", 3), ("ada", "roll-back", 2)]


def test_how_many_run_is_no_part_of_a_revision(verbs):
    apply(verbs)
    apply(verbs, model="fraud:1.1.0", replicas=4)
    done = verbs.roll_back("fraud", 1, lambda _: None)
    assert done.serving == 1
    assert verbs.one("fraud").replicas == 4


def test_old_revisions_are_forgotten(verbs):
    strategy = {"keep_revisions": 2}
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        apply(verbs, model=f"fraud:{version}", strategy=strategy)
    assert [kept.revision.number for kept in verbs.revisions("fraud")] == [3, 2]


def test_a_killed_apply_is_gone_on_with(verbs, place):
    apply(verbs, replicas=3)
    for steps in range(6):
        place.dies_after = steps
        try:
            apply(verbs, model="fraud:1.1.0", replicas=3)
        except Killed:
            assert len(place.running["fraud"]) >= 3
            continue
        break
    else:
        raise AssertionError("it never came through")
    assert steps > 1
    place.dies_after = None
    assert [number for number, _ in place.running["fraud"]] == [2, 2, 2]
    assert verbs.one("fraud").state is State.READY


def test_the_healer_goes_on_with_what_was_killed(verbs, place, factory):
    place.dies_after = 0
    with pytest.raises(Killed):
        apply(verbs)
    assert verbs.one("fraud").state is State.ROLLING
    place.dies_after = None
    verbs.healer().round()
    assert verbs.one("fraud").state is State.READY


def test_the_healer_puts_right_what_ended_or_was_changed(verbs, place):
    apply(verbs, replicas=3)
    place.running["fraud"].pop()
    healer = verbs.healer()
    healer.round()
    assert len(place.running["fraud"]) == 3
    place.changed.append("memory: 1 instead of 2")
    assert verbs.one("fraud").changed == ("memory: 1 instead of 2",)
    assert act(verbs, replicas=3).act is Act.RETRY
    healer.round()
    events = [event.message for event in verbs.one("fraud").events]
    assert "changed from outside, put right: memory: 1 instead of 2" in events
    count = len(place.applied)
    healer.round()
    assert len(place.applied) == count


def test_after_a_failure_the_healer_keeps_the_old_one_and_tries_the_new_one_no_more(verbs, place):
    apply(verbs, replicas=2)
    place.broken.add("1.1.0")
    apply(verbs, model="fraud:1.1.0", replicas=2)
    place.running["fraud"].pop()
    verbs.healer().round()
    assert [number for number, _ in place.running["fraud"]] == [1, 1]


def test_the_healer_waits_longer_for_a_target_that_is_away(verbs, place):
    apply(verbs)
    place.down = True
    clock = [0.0]
    healer = verbs.healer()
    healer._clock = lambda: clock[0]
    tries = []
    healer._applier.tend = lambda name: tries.append(clock[0]) or _away()
    for second in range(200):
        clock[0] = float(second)
        healer.round()
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert 4 <= len(tries) <= 8


def _away():
    raise UnavailableError("the memory is away")


def test_delete_leaves_nothing_but_the_audit(verbs, place):
    apply(verbs)
    verbs.delete("fraud", lambda _: None)
    assert place.running == {}
    assert verbs.all() == []
    with pytest.raises(NotFoundError):
        verbs.one("fraud")
    assert [one.act for one in verbs.audited("deployment/fraud")] == ["deleted", "delete", "apply"]
    assert apply(verbs).revision == 1


def test_a_delete_that_could_not_be_done_is_done_later(verbs, place):
    apply(verbs)
    place.down = True
    with pytest.raises(UnavailableError):
        verbs.delete("fraud", lambda _: None)
    assert verbs.one("fraud").state is State.DELETING
    place.down = False
    assert "being deleted" in apply(verbs).message
    verbs.healer().round()
    assert place.running == {}
    assert verbs.all() == []


def test_a_target_that_is_away_is_said_in_plan_and_status(verbs, place):
    apply(verbs)
    place.down = True
    [one] = verbs.all()
    assert one.unseen == "the memory is away"
    assert "the target does not answer: the memory is away" in act(verbs).notes


def test_another_target_wants_another_name(verbs, place):
    apply(verbs)
    done = apply(verbs, target={"type": "memory", "settings": {"zone": "b"}})
    assert done.state is State.FAILED
    assert "delete it first" in done.message


def test_one_at_a_time(factory):
    failed = []

    def other():  # the same thread would take its own lock again
        try:
            with factory._deployments.locked("fraud"):
                pass
        except ConflictError as error:
            failed.append(error.message)

    with factory._deployments.locked("fraud"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "being changed" in failed[0]


def test_the_lock_of_a_process_that_is_gone_is_free(factory):
    holder = locks.ourselves().split("/")
    dead = "/".join([holder[0], "999999999", "1", "1"])
    with factory._deployments._scope.write() as session:
        assert store.lock(session, "fraud", dead, 0, 2**62) == ""
    with factory._deployments.locked("fraud"):
        pass
    elsewhere = "another-host/1/1/1"
    with factory._deployments._scope.write() as session:
        store.lock(session, "fraud", elsewhere, 0, 2**62)
    with pytest.raises(ConflictError, match="another-host"), factory._deployments.locked("fraud"):
        pass


def test_a_deployed_version_is_not_deleted(factory, verbs):
    apply(verbs)
    with pytest.raises(ConflictError, match=r"deployment 'fraud' runs fraud:1\.0\.0"):
        factory.delete("fraud:1.0.0")
    with pytest.raises(ConflictError):
        factory.delete("fraud")
    assert factory.delete("fraud:1.2.0") == ["fraud:1.2.0"]
    verbs.delete("fraud", lambda _: None)
    factory.delete("fraud")


def test_a_moved_alias_is_shown_and_followed_by_apply_only(factory, verbs, place):
    factory.set_alias("fraud", "champion", "1.0.0")
    apply(verbs, model="fraud@champion")
    factory.set_alias("fraud", "champion", "1.1.0")
    assert verbs.one("fraud").moved == "fraud:1.1.0"
    verbs.healer().round()
    assert {number for number, _ in place.running["fraud"]} == {1}
    assert act(verbs, model="fraud@champion").act is Act.UPDATE
    apply(verbs, model="fraud@champion")
    assert verbs.one("fraud").moved == ""
    assert verbs.one("fraud").model == "fraud:1.1.0"


def test_cleared_caches_are_laid_out_again(factory, verbs, place):
    apply(verbs)
    shutil.rmtree(factory.home.cache)
    factory.home.cache.mkdir()
    place.running["fraud"].clear()
    verbs.healer().round()
    [share] = place.applied[-1].shares
    assert Path(share.revision.model.path).exists()
    assert len(place.running["fraud"]) == 1


def test_export_is_what_would_run(verbs):
    [one] = verbs.export(manifest(replicas=2))
    assert (one.name, one.target) == ("fraud", "memory")
    assert one.files[0].text.startswith("fraud-1 x 2")
    apply(verbs, replicas=2)
    assert verbs.exported("fraud").files == one.files
    with pytest.raises(InvalidError, match="refuses"):
        verbs.export(manifest(resources={"gpu": 1}))


def test_an_export_asks_nobody(verbs, monkeypatch):
    monkeypatch.setattr(MemoryTarget, "observe", lambda *_: _away())
    assert verbs.export(manifest())[0].files


def test_one_that_fails_does_not_keep_the_others(verbs, place):
    place.broken.add("1.1.0")
    [(name, bad)] = manifest("churn", model="fraud:1.1.0")
    [(_, good)] = manifest("fraud")
    done = verbs.apply([(name, bad + b"---\n" + good)], "", lambda _: None)
    assert [one.state for one in done] == [State.FAILED, State.READY]


def test_what_is_a_machines_own_is_left_alone_by_others(factory, verbs, place, monkeypatch):
    monkeypatch.setattr(MemoryTarget, "nearby", True)
    apply(verbs)
    factory._deployments.machine = "another:/data"
    place.running.clear()
    verbs.healer().round()
    assert place.running == {}  # not started once more
    [one] = verbs.all()
    assert "do this there" in one.unseen
    assert "do this there" in act(verbs).notes[-1]
    for refused in (apply(verbs).message, _refused(verbs.delete), _refused(verbs.roll_back, 1)):
        assert "do this there" in refused
    monkeypatch.setattr(MemoryTarget, "nearby", False)
    verbs.delete("fraud", lambda _: None, forget=True)
    assert verbs.audited("deployment/fraud")[0].act == "forgotten"
    apply(verbs)
    place.running.clear()
    factory._deployments.machine = "a third:/data"
    verbs.healer().round()  # reached from everywhere
    assert len(place.running["fraud"]) == 1


def _refused(verb, *more):
    with pytest.raises(ConflictError) as found:
        verb("fraud", *more, lambda _: None)
    return found.value.message


# -- routes


def routed(weights, **spec):
    backends = [{"deployment": name, "weight": weight} for name, weight in weights.items()]
    documents = [
        {
            "apiVersion": "modelworks/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"model": "fraud:1.0.0", "target": "routing", "access": {"port": port}},
        }
        for port, name in enumerate(sorted(weights), 8001)
    ]
    route = {
        "apiVersion": "modelworks/v1",
        "kind": "Route",
        "metadata": {"name": "door"},
        "spec": {"backends": backends, **spec},
    }
    return [("modelworks.yaml", yaml.safe_dump_all([*documents, route]).encode())]


def test_a_route_is_applied_after_its_deployments_and_twice_changes_nothing(verbs, place):
    files = routed({"a": 90, "b": 10})
    assert [one.act for one in verbs.plan(files).documents] == [Act.CREATE] * 3
    done = verbs.apply(files, "", lambda _: None)
    assert [(one.kind, one.name, one.state) for one in done] == [
        ("Deployment", "a", State.READY),
        ("Deployment", "b", State.READY),
        ("Route", "door", State.READY),
    ]
    assert place.routed["door"].ports == {"a": 8001, "b": 8002}
    assert [one.act for one in verbs.plan(files).documents] == [Act.UNCHANGED] * 3
    generation = verbs.routes()[0].generation
    verbs.apply(files, "", lambda _: None)
    assert verbs.routes()[0].generation == generation
    moved = verbs.plan(routed({"a": 50, "b": 50})).documents[2]
    assert moved.act is Act.UPDATE
    assert "a=90" in moved.native
    assert "a=50" in moved.native
    assert [change.path for change in moved.changes] == ["spec.backends"]
    place.route_changes.append("weight of a: 1 instead of 90")
    assert verbs.plan(files).documents[2].act is Act.RETRY
    assert [one.kind for one in verbs.export(files)] == ["Deployment", "Deployment", "Route"]


def test_what_a_route_names_is_not_ended_before_it(verbs, place):
    verbs.apply(routed({"a": 100}), "", lambda _: None)
    with pytest.raises(ConflictError, match="route 'door' names deployment 'a'"):
        verbs.delete("a", lambda _: None)
    assert verbs.names(routed({"a": 100})) == (["a"], ["door"])
    verbs.delete_route("door")
    verbs.delete("a", lambda _: None)
    assert place.routed == {}
    assert verbs.routes() == []


def test_a_route_to_nobody_is_refused(verbs, place):
    [(name, text)] = routed({"a": 100})
    *_, route = text.split(b"---\n")
    with pytest.raises(NotFoundError, match="nobody asked for"):
        verbs.plan([(name, route)])
    verbs.apply([(name, text)], "", lambda _: None)
    assert verbs.plan([(name, route)]).documents[0].act is Act.UNCHANGED


def test_a_route_to_what_does_not_answer_stays_as_it_was(verbs, place):
    place.broken.add("1.0.0")
    done = verbs.apply(routed({"a": 100}), "", lambda _: None)
    assert [one.state for one in done] == [State.FAILED, State.FAILED]
    assert "nothing answers at deployment 'a'" in done[1].message
    assert place.routed == {}


def test_deployments_of_two_places_have_no_common_route(verbs):
    [(name, text)] = routed({"a": 50, "b": 50})
    mixed = text.replace(b"target: routing", b"target: memory", 1)
    document = verbs.plan([(name, mixed)]).documents[2]
    assert document.act is Act.REFUSED
    assert "memory and routing" in document.refused[0].how
    assert "and routing routes by itself" in document.refused[0].how
    with pytest.raises(InvalidError, match="carries together"):
        verbs.apply([(name, mixed)], "", lambda _: None)


def unrouted(weights, **spec):
    """The same where no target routes."""
    [(name, text)] = routed(weights, **spec)
    text = text.replace(b"target: routing", b"target: memory", 1)
    settings = b"target: {type: memory, settings: {zone: far}}"
    return [(name, text.replace(b"target: routing", settings))]


def test_where_no_target_routes_the_gateway_carries_a_route(verbs, place):
    sticky = {"header": "X-User"}
    files = unrouted({"a": 90, "b": 10}, sticky=sticky, timeout_s=2)
    plan = verbs.plan(files)
    assert plan.ok
    route = plan.documents[2]
    assert (route.target, route.act) == ("gateway", Act.CREATE)
    said = {one.path: one.how for one in route.answers}
    assert "by the gateway" in said["spec.backends[0].weight"]
    assert "the same value" in said["spec.sticky.header"]
    assert "gateways that follow" in route.notes[0]
    done = verbs.apply(files, "", lambda _: None)
    assert [one.state for one in done] == [State.READY] * 3
    assert place.routed == {}
    [kept] = verbs.routes()
    assert (kept.target, kept.state) == ("gateway", State.READY)
    assert [one.act for one in verbs.plan(files).documents] == [Act.UNCHANGED] * 3
    moved = verbs.plan(unrouted({"a": 50, "b": 50}, sticky=sticky, timeout_s=2)).documents[2]
    assert "9000" in moved.native
    assert "5000" in moved.native
    [*_, exported] = verbs.export(files)
    assert '"name": "x-user"' in exported.files[0].text
    verbs.delete_route("door")
    assert verbs.routes() == []


def test_the_gateway_refuses_a_path_that_no_server_answers(verbs):
    refused = verbs.plan(unrouted({"a": 100}, path="/api")).documents[1]
    assert refused.act is Act.REFUSED
    assert [one.path for one in refused.refused] == ["spec.path"]
    for path in ("/v2", "/v2/models/fraud", "/predict/"):
        assert verbs.plan(unrouted({"a": 100}, path=path)).ok


def test_a_route_does_not_move_between_a_target_and_the_gateway(verbs, place):
    verbs.apply(routed({"a": 100}), "", lambda _: None)
    verbs.apply([("modelworks.yaml", unrouted({"b": 100})[0][1].split(b"---")[0])], "", _quiet)
    [(name, text)] = unrouted({"b": 100})
    route = [(name, text.split(b"---\n")[1])]
    assert "has to be deleted there first" in verbs.plan(route).documents[0].notes[0]
    [done] = verbs.apply(route, "", _quiet)
    assert done.state is State.FAILED
    assert "routed by 'routing'" in done.message
    verbs.delete_route("door")
    assert verbs.apply(route, "", _quiet)[0].state is State.READY


def _quiet(_step):
    return None
