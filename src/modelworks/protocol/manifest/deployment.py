"""The kind `Deployment`: a version of a model that runs somewhere, in so many copies."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from modelworks.core.instances import DEVICE, MOST
from modelworks.core.optimizing.variants import SOURCE
from modelworks.core.served import BATCHING_BOUNDS
from modelworks.protocol.manifest.fields import (
    WORD,
    Cores,
    Form,
    Kind,
    Labels,
    Memory,
    Metadata,
    Part,
    Port,
    Reference,
    Variable,
)
from modelworks.protocol.manifest.kept import Cache, Sequences
from modelworks.protocol.manifest.monitoring import Monitoring


class Isolation(StrEnum):
    """Where the engine runs."""

    THREAD = "thread"
    PROCESS = "process"


class Metric(StrEnum):
    """What autoscaling looks at."""

    CPU = "cpu"  # percent of the cores asked for
    CONCURRENCY = "concurrency"  # requests that a replica has at once
    REQUESTS = "requests"  # a second and replica


class Spread(StrEnum):
    """What replicas do not share, where it can be helped."""

    NONE = "none"
    HOST = "host"
    ZONE = "zone"


class Expose(StrEnum):
    """Who reaches it."""

    HOST = "host"  # programs on the same machine, or pods of the same cluster
    PUBLIC = "public"  # whoever reaches the machine or the cluster's load balancer


def _target(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


def _setting(name: str) -> Any:
    lowest, highest = BATCHING_BOUNDS[name]
    return Field(ge=lowest, le=highest)


class Target(Part):
    """Where it runs. `target: docker` is short for `target: {type: docker}`."""

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    """`local`, `docker`, `compose`, `swarm`, `kubernetes`: see `modelworks targets`."""
    settings: dict[str, str] = Field(default_factory=dict)
    """The target's own: a host, a context, a namespace."""


class Image(Part):
    """The container image; targets without containers have none."""

    repository: Annotated[str, Field(max_length=255)] = ""
    """Where images are pushed to, `registry.example.com/models/fraud`; empty = none are."""
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """An image that is there already, in `repository`; empty = made from the version."""
    base: Annotated[str, Field(max_length=1024)] = ""
    """What it is made on: a reference with its registry, or a file; empty = MODELWORKS_BASE."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When a replica that starts asks the registry for it."""

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.digest and not self.repository:
            raise ValueError("digest goes with repository: where the image is")
        if self.digest and self.base:
            raise ValueError("digest names an image that is there, and base makes one")
        return self


class Autoscaling(Part):
    """As many replicas as there is work for."""

    min: Annotated[int, Field(ge=0, le=1000)] = 1
    """Fewest; 0 = none while nobody asks."""
    max: Annotated[int, Field(ge=1, le=1000)]
    """Most."""
    metric: Annotated[Metric, WORD] = Metric.CPU
    """What is looked at."""
    goal: Annotated[float, Field(gt=0, le=1_000_000)] = 70.0
    """Of the metric, a replica: percent, requests, or requests a second."""
    scale_down_after_s: Annotated[int, Field(ge=0, le=3600)] = 300
    """How long there has to be less work before a replica goes."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max {self.max}: the fewest are the more")
        return self


class Resources(Part):
    """What one replica needs."""

    cpu: Cores = 1.0
    """Cores that are kept for it."""
    cpu_limit: Cores | None = None
    """Cores that it may use at most; unset = as many as are free."""
    memory: Memory = 1 << 30
    """Kept for it, and the most that it may use."""
    gpu: Annotated[int, Field(ge=0, le=16)] = 0
    """Whole GPUs."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.cpu_limit is not None and self.cpu_limit < self.cpu:
            raise ValueError(f"cpu_limit is {self.cpu_limit:g}, less than cpu: {self.cpu:g}")
        return self


class Instances(Part):
    """So many copies of the model on one device, which answer side by side."""

    device: Annotated[str, Field(pattern=f"^{DEVICE}$")] = "cpu"
    """`cpu`, `cuda:0`, `gpu:0` (OpenVINO's)."""
    count: Annotated[int, Field(ge=1, le=MOST)] = 1
    """Copies."""


class Server(Part):
    """How a replica's server uses its cores."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes on the port."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Of the engine, a model and worker."""
    isolation: Annotated[Isolation, WORD] = Isolation.THREAD
    """Whether the model has a process of its own, which can be ended alone."""
    instances: Annotated[list[Instances], Field(max_length=16)] = Field(default_factory=list)
    """Copies of the model in a worker, by device; empty = one."""

    @model_validator(mode="after")
    def _few(self) -> Self:
        if sum(one.count for one in self.instances) > MOST:
            raise ValueError(f"instances: {MOST} copies at most, over all devices")
        return self


class Batching(Part):
    """How requests share engine calls; see `docs/serving.md`."""

    max_batch_size: Annotated[int, _setting("max_batch_size")] = 64
    """Items of one engine call."""
    max_queue_size: Annotated[int, _setting("max_queue_size")] = 4096
    """Items that may wait; more are answered 503."""
    max_delay_ms: Annotated[float, _setting("max_delay_ms")] = 0.0
    """How long an idle engine waits for company."""
    priority_levels: Annotated[int, _setting("priority_levels")] = 1
    """1 = all requests are equal."""
    timeout_ms: Annotated[float, _setting("timeout_ms")] = 0.0
    """Of requests that bring none; 0 = none."""
    latency_goal_ms: Annotated[float, _setting("latency_goal_ms")] = 0.0
    """Batch size and delay are learnt so that 99 of 100 keep it; 0 = they are not."""


class Slo(Part):
    """What was promised: held against what is measured."""

    latency_p99_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    """99 of 100 answers within it."""
    availability: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of requests answered without a fault of the server's: 0.999."""


class SecretSource(Part):
    """Where a secret lies. Never its value: a manifest is kept in git."""

    file: Annotated[str, Field(max_length=4096)] = ""
    """On the machine that the target is, or that `apply` runs on."""
    variable: Variable | Literal[""] = ""
    """Of the environment of the reconciler."""
    secret: Annotated[
        str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", max_length=253)
    ] = ""
    """Name of a secret that the target keeps (Kubernetes, Swarm)."""
    key: Annotated[str, Field(pattern=r"^[-._A-Za-z0-9]*$", max_length=253)] = ""
    """Within that secret, where it has keys."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.file, self.variable, self.secret))) != 1:
            raise ValueError("one of file, variable and secret is wanted")
        if self.key and not self.secret:
            raise ValueError("a key belongs to a secret")
        return self


class Secret(Part):
    """What the server reads and nobody else should."""

    name: Variable
    """The variable that it becomes, or with `mount` its name among the secrets."""
    source: SecretSource
    """Where it lies."""
    mount: bool = False
    """A file, `/run/secrets/NAME`, with the variable NAME_FILE; else a variable."""


class Probes(Part):
    """When a replica is ready, and when it is started anew."""

    startup_timeout_s: Annotated[int, Field(ge=1, le=3600)] = 120
    """For loading the model."""
    period_s: Annotated[int, Field(ge=1, le=300)] = 5
    """Between two looks."""
    timeout_s: Annotated[int, Field(ge=1, le=60)] = 2
    """For an answer."""
    failures: Annotated[int, Field(ge=1, le=20)] = 3
    """In a row, after which it is not ready; three times as many, and it is started anew."""


class Strategy(Part):
    """How one revision takes the place of another. The old one goes when the new one is ready."""

    max_surge: Annotated[int, Field(ge=1, le=100)] = 1
    """Replicas more than asked for, meanwhile."""
    ready_timeout_s: Annotated[int, Field(ge=1, le=7200)] = 300
    """Then the new revision has failed, and the old one stays."""
    drain_s: Annotated[int, Field(ge=0, le=3600)] = 30
    """For requests that a replica still has when it is to go."""
    keep_revisions: Annotated[int, Field(ge=1, le=100)] = 10
    """That can be gone back to."""


class Placement(Part):
    """Which machines."""

    node_labels: Labels = Field(default_factory=dict)
    """Only machines that have all of these."""
    spread: Annotated[Spread, WORD] = Spread.NONE
    """What replicas do not share, where it can be helped."""


class Access(Part):
    """Who may ask."""

    port: Port = 8080
    """Of the server."""
    expose: Annotated[Expose, WORD] = Expose.HOST
    """Who reaches it."""
    keys: SecretSource | None = None
    """A file of API keys, a line each; unset = none are asked for."""
    certificate: SecretSource | None = None
    """TLS: the chain, PEM."""
    private_key: SecretSource | None = None
    """TLS: its key, PEM."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("TLS wants both certificate and private_key")
        return self


class DeploymentSpec(Part):
    """What is wanted."""

    model: Reference
    """`fraud@champion`, `fraud:1.4.0`, or `fraud`: its default version; `fraud#int8` is a form."""
    variant: Form = SOURCE
    """Which form of the version: `source`, `fastest`, `throughput`, `smallest`, `memory`, `energy`,
    `cost`, or a variant's name. A goal is resolved when it is applied."""
    target: Annotated[Target, BeforeValidator(_target, json_schema_input_type=Target | str)]
    """Where it runs."""
    image: Image = Image()
    """The container image."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Copies, where there is no autoscaling; 0 = it is there and does not run."""
    autoscaling: Autoscaling | None = None
    """Copies as there is work."""
    resources: Resources = Resources()
    """Of one replica."""
    server: Server = Server()
    """How a replica uses its cores."""
    batching: Batching = Batching()
    """How requests share engine calls."""
    cache: Cache | None = None
    """Answers that are kept and given again; unset = each is computed."""
    sequences: Sequences | None = None
    """What a recurrent model remembers from one request to the next; unset = nothing."""
    slo: Slo = Slo()
    """What was promised."""
    environment: dict[Variable, Annotated[str, Field(max_length=32_768)]] = Field(
        default_factory=dict
    )
    """Variables of the server's process."""
    secrets: Annotated[list[Secret], Field(max_length=100)] = Field(default_factory=list)
    """What the server reads and nobody else should."""
    probes: Probes = Probes()
    """When a replica is ready."""
    strategy: Strategy = Strategy()
    """How one revision takes the place of another."""
    placement: Placement = Placement()
    """Which machines."""
    access: Access = Access()
    """Who may ask."""
    monitoring: Monitoring = Monitoring()
    """What is told of it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.autoscaling is not None and "replicas" in self.model_fields_set:
            raise ValueError("replicas and autoscaling contradict each other: leave one out")
        if "#" in self.model and "variant" in self.model_fields_set:
            raise ValueError("model and variant name a form each: leave one out")
        limit = self.resources.cpu_limit
        if limit is not None and limit < self.resources.cpu:
            raise ValueError(
                f"resources.cpu_limit is {limit:g}, less than cpu: {self.resources.cpu:g}"
            )
        self._alone()
        names = [secret.name for secret in self.secrets] + list(self.environment)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is set twice, in environment or secrets")
        return self

    def _alone(self) -> None:
        """What is remembered lies in one process: every request has to come there."""
        if self.sequences is None:
            return
        if self.cache is not None:
            raise ValueError("cache and sequences: a model that remembers has no answer to keep")
        copies = self.replicas if self.autoscaling is None else self.autoscaling.max
        if copies > 1 or self.server.workers > 1:
            raise ValueError(
                "sequences lie in one process: replicas, autoscaling.max and server.workers can "
                "only be 1; for more, deploy it under several names and let callers choose by id"
            )


class Deployment(Kind):
    """A version of a model that runs somewhere."""

    kind: Literal["Deployment"] = "Deployment"
    """Of the document."""
    metadata: Metadata
    """Whose it is."""
    spec: DeploymentSpec
    """What is wanted."""
