"""Server-side apply as Kubernetes does it, for plain objects: who says which field.

Lists whose members have a `name` are merged by it; all others are one value.
"""

import copy


def paths(value, way=()):
    """Way -> value of every leaf."""
    if isinstance(value, dict) and value:
        found = {}
        for key, below in value.items():
            found |= paths(below, (*way, f"f:{key}"))
        return found
    if named(value):
        found = {}
        for one in value:
            found |= paths(one, (*way, f'k:{{"name":"{one["name"]}"}}'))
        return found
    return {way: value}


def named(value):
    return (
        isinstance(value, list)
        and value
        and all(isinstance(one, dict) and "name" in one for one in value)
    )


def fields(ways):
    """`fieldsV1` of ways."""
    tree = {}
    for way in sorted(ways):
        at = tree
        for part in way:
            at = at.setdefault(part, {})
    return tree


class Managed:
    """One object, and who said what of it."""

    def __init__(self, head):
        self.live = copy.deepcopy(head)
        self.said = {}

    def conflicts(self, manager, wanted):
        """(field, other manager) of what others say differently."""
        now = paths(self.live)
        return [
            (way, other)
            for way, value in paths(wanted).items()
            for other, theirs in self.said.items()
            if other != manager and way in theirs and now.get(way) != value
        ]

    def apply(self, manager, wanted):
        """Take over what it says, and drop what it said before and nobody else says."""
        new = paths(wanted)
        for way, other in self.conflicts(manager, wanted):
            self.said[other].discard(way)
        others = set().union(*(ways for who, ways in self.said.items() if who != manager))
        for way in self.said.get(manager, set()) - set(new) - others:
            drop(self.live, way)
        for way, value in new.items():
            put(self.live, way, value)
        self.said[manager] = set(new)

    def update(self, manager, change):
        """Somebody writes the object: what differs then is theirs."""
        before = paths(self.live)
        change(self.live)
        after = paths(self.live)
        for way in before.keys() | after.keys():
            if before.get(way) != after.get(way):
                for ways in self.said.values():
                    ways.discard(way)
                if way in after:
                    self.said.setdefault(manager, set()).add(way)

    def shown(self):
        """With `managedFields`."""
        found = copy.deepcopy(self.live)
        found["metadata"]["managedFields"] = [
            {"manager": who, "fieldsType": "FieldsV1", "fieldsV1": fields(ways)}
            for who, ways in self.said.items()
            if ways
        ]
        return found


def put(at, way, value):
    for here, below in zip(way, (*way[1:], None), strict=True):
        last = below is None
        if here.startswith("f:"):
            key = here[2:]
            if last:
                at[key] = copy.deepcopy(value)
                return
            empty = [] if below.startswith("k:") else {}
            if not isinstance(at.get(key), type(empty)):
                at[key] = empty
            at = at[key]
        else:
            at = _member(at, here)


def drop(at, way):
    trail = []
    for part in way[:-1]:
        trail.append((at, part))
        at = at.get(part[2:]) if part.startswith("f:") else _member(at, part)
        if at is None:
            return
    at.pop(way[-1][2:], None)
    for above, part in reversed(trail):  # nothing is left of what was only said so
        if at:
            return
        if part.startswith("f:"):
            above.pop(part[2:], None)
        else:
            above.remove(at)
        at = above


def _member(members, key):
    name = key[len('k:{"name":"') : -2]
    for one in members:
        if one.get("name") == name:
            return one
    members.append({"name": name})
    return members[-1]
