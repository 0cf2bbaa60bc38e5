"""A small API server of Kubernetes over HTTP: it keeps objects, applies, and plays a controller.

It is no cluster: it validates nothing, and pods are what a test says. What it knows is what a
client of server-side apply has to get right: managers of fields, conflicts, generations,
preconditions, selectors, pages, kinds that nobody brought, namespaces that nobody made.
"""

import contextlib
import copy
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml

from kubernetes_fields import Managed
from kubernetes_words import has, kubeconfig, right

NAMESPACE = "models"
MAKES = ("deployments", "pods")


class Cluster:
    """What the server knows; tests change it from outside."""

    def __init__(self):
        self.objects = {}
        self.logs = {}
        self.unknown = set()
        self.version = {"major": "1", "minor": "31+"}
        self.answers = []
        self.dies_after = None
        self.writes = []
        self.asked = set()
        self.page = 500
        self.ready = True
        self.drains = 0
        self.meanwhile = None
        self.lock = threading.RLock()
        self._count = 0

    def names(self):
        """`plural/name` of all objects."""
        return sorted(f"{plural}/{name}" for plural, name in self.objects)

    def get(self, plural, name="fraud"):
        return self.objects[plural, name].shown()

    def change(self, plural, change, *, name="fraud", manager="kubectl"):
        """As `kubectl edit`."""
        with self.lock:
            kept = self.objects[plural, name]
            before = copy.deepcopy(kept.live)
            kept.update(manager, change)
            self._touched(plural, kept.live, before)

    def add(self, plural, found, manager="helm"):
        """Another one's object."""
        with self.lock:
            kept = Managed({"metadata": {"uid": str(uuid.uuid4())}})
            kept.apply(manager, found)
            self.objects[plural, found["metadata"]["name"]] = kept

    def pod(self, name, revision, *, ready=False, labels=None, **status):
        """A pod of `fraud` with such a status."""
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        said = {"phase": "Running", "conditions": conditions, **status}
        mine = {"modelworks.deployment": "fraud", "modelworks.revision": str(revision)}
        self.add("pods", {"metadata": {"name": name, "labels": labels or mine}, "status": said})

    def fail(self, status, body, method="PATCH", plural=None):
        """The next such request is answered so."""
        self.answers.append((method, plural, status, body))

    def settle(self):
        """What the controller of deployments would do in the end."""
        with self.lock:
            for (plural, name), kept in list(self.objects.items()):
                if plural == "deployments":
                    self._rolled(name, kept.live)

    def _rolled(self, name, live):
        count = live["spec"].get("replicas", 1)
        for place in [key for key in self.objects if key[0] == "pods"]:
            if place[1].startswith(f"{name}-"):
                del self.objects[place]
        labels = live["spec"]["template"]["metadata"]["labels"]
        for number in range(count):
            self.pod(
                f"{name}-{live['metadata']['generation']}-{number}", 0, ready=True, labels=labels
            )
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": count,
            "availableReplicas": count,
        }

    def applied(self, plural, name, manager, wanted, *, force):
        """Status and answer of a server-side apply."""
        with self.lock:
            kept = self.objects.get((plural, name))
            if kept is None:
                kept = Managed({"metadata": {"uid": str(uuid.uuid4())}})
            said = copy.deepcopy(wanted)
            conflicts = kept.conflicts(manager, said)
            if conflicts and not force:
                who = ", ".join(f'"{other}": .{".".join(way)}' for way, other in conflicts)
                return 409, _status(409, "Conflict", f"conflict with {who}", name)
            before = copy.deepcopy(kept.live)
            kept.apply(manager, said)
            if plural == "deployments":
                kept.live["spec"].setdefault("replicas", 1)
            self.objects[plural, name] = kept
            if kept.live != before:
                self._touched(plural, kept.live, before)
            return 200, kept.shown()

    def _touched(self, plural, live, before=None):
        self._count += 1
        head = live["metadata"]
        head["resourceVersion"] = str(self._count)
        if before is None or before.get("spec") != live.get("spec"):
            head["generation"] = head.get("generation", 0) + 1
            if plural == "deployments" and self.ready:
                self._rolled(head["name"], live)

    def deleted(self, plural, name, options):
        """Status and answer of a delete; what it made goes with it."""
        with self.lock:
            kept = self.objects.get((plural, name))
            if kept is None:
                return 404, _status(404, "NotFound", f'"{name}" not found', name)
            wanted = options.get("preconditions", {}).get("uid")
            if wanted not in {None, kept.live["metadata"]["uid"]}:
                return 409, _status(409, "Conflict", "the UID in the precondition differs", name)
            if plural == "deployments" and self.drains:
                kept.live["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z"
                return 200, kept.shown()
            self._ended(plural, name)
            return 200, _status(200, "Success", "", name)

    def _ended(self, plural, name):
        """It is gone, and what it made."""
        with self.lock:
            del self.objects[plural, name]
            if plural == "deployments":
                for place in [key for key in self.objects if key[0] == "pods"]:
                    if place[1].startswith(f"{name}-"):
                        del self.objects[place]

    def listed(self, plural, query):
        """One page. Pods that drain do so while somebody looks, so many times."""
        if plural == "pods" and self.drains:
            self.drains -= 1
            for kind, name in list(self.objects) if not self.drains else ():
                if (
                    kind == "deployments"
                    and "deletionTimestamp" in self.get(kind, name)["metadata"]
                ):
                    self._ended(kind, name)
        with self.lock:
            wanted = dict(
                part.split("=") for part in query.get("labelSelector", "").split(",") if part
            )
            about = dict(
                part.split("=") for part in query.get("fieldSelector", "").split(",") if part
            )
            found = [
                kept.shown()
                for (kind, _), kept in sorted(self.objects.items())
                if kind == plural and has(kept.live, wanted, about)
            ]
        begin = int(query.get("continue") or 0)
        end = begin + min(self.page, int(query.get("limit", self.page)))
        more = str(end) if end < len(found) else ""
        for one in found:  # as in a real list
            one.pop("kind", None)
            one.pop("apiVersion", None)
        return 200, {"items": found[begin:end], "metadata": {"continue": more}}


def _status(code, reason, message, name=""):
    return {
        "kind": "Status",
        "code": code,
        "reason": reason,
        "message": message,
        "details": {"name": name} if name else {},
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, or each answer waits for the other's ACK
    cluster: Cluster

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._do()

    do_PATCH = do_DELETE = do_GET  # noqa: N815 - the library's names

    def _do(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        cluster = self.cluster
        if self.command != "GET":
            cluster.writes.append(f"{self.command} {urlsplit(self.path).path}")
            meanwhile, cluster.meanwhile = cluster.meanwhile, None
            if meanwhile is not None:
                meanwhile()
            if cluster.dies_after is not None and len(cluster.writes) > cluster.dies_after:
                self.close_connection = True
                return
        status, answer = self._answer(body)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body):
        parts = urlsplit(self.path)
        cluster = self.cluster
        if parts.path == "/version":
            return 200, cluster.version
        if self.headers.get("Authorization") != "Bearer open-sesame":
            return 401, _status(401, "Unauthorized", "Unauthorized")
        words = parts.path.strip("/").split("/")
        namespace, plural, *rest = words[words.index("namespaces") + 1 :]
        cluster.asked.add(right(words, rest, self.command))
        for place, (method, kind, status, said) in enumerate(cluster.answers):
            if method == self.command and kind in {None, plural}:
                del cluster.answers[place]
                return status, said
        if plural in cluster.unknown:
            return 404, "404 page not found\n"
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        do = {"GET": self._get, "PATCH": self._patch, "DELETE": self._delete}[self.command]
        return do(namespace, plural, rest, query, body)

    def _patch(self, namespace, plural, rest, query, body):
        if namespace != NAMESPACE:
            said = _status(404, "NotFound", f'namespaces "{namespace}" not found', namespace)
            return 404, {**said, "details": {"name": namespace, "kind": "namespaces"}}
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        force = query["force"] == "true"
        return self.cluster.applied(plural, rest[0], query["fieldManager"], body, force=force)

    def _delete(self, namespace, plural, rest, query, body):
        return self.cluster.deleted(plural, rest[0], body)

    def _get(self, namespace, plural, rest, query, body):
        if rest[1:] == ["log"]:
            text = self.cluster.logs.get((rest[0], query.get("previous") == "true"))
            return (200, text) if text is not None else (400, _status(400, "BadRequest", "none"))
        if not rest:
            return self.cluster.listed(plural, query)
        with self.cluster.lock:
            kept = self.cluster.objects.get((plural, rest[0]))
            if kept is None or namespace != NAMESPACE:
                return 404, _status(404, "NotFound", f'"{rest[0]}" not found', rest[0])
            return 200, kept.shown()


@contextlib.contextmanager
def serving(folder):
    """A cluster, and a kubeconfig that leads to it."""
    cluster = Cluster()
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig(f"http://127.0.0.1:{server.server_port}")))
    try:
        yield cluster, file
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
