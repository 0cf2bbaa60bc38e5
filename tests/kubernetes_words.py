"""Small words of the API server in `kubernetes_server`: selectors, rights, a kubeconfig."""


def has(live, labels, about):
    there = live["metadata"].get("labels", {})
    if any(there.get(key) != value for key, value in labels.items()):
        return False
    object_ = live.get("involvedObject", {})
    name = about.get("involvedObject.name")
    return name is None or name == object_.get("name")


def right(words, rest, command):
    """API group, resource and verb, as roles have them."""
    group = words[1] if words[0] == "apis" else ""
    resource = words[words.index("namespaces") + 2]
    if command == "GET":
        return group, "/".join([resource, *rest[1:]]), "get" if rest else "list"
    return group, resource, command.lower()


def kubeconfig(url):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "open-sesame"}}],
    }
