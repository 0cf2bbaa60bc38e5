"""Brokers for tests of events: NATS and Mosquitto as processes, and who sends and listens there."""

import asyncio
import shutil
import subprocess
import threading

from sink_receivers import NatsServer
from store_servers import eventually, free_port, missing


class Nats(NatsServer):
    """A NATS server with a stream `ask` of what is asked, and `told` of what is answered."""

    def prepare(self):
        async def act(client):
            stream = client.jetstream()
            await stream.add_stream(name="ask", subjects=["ask.>"])
            await stream.add_stream(name="told", subjects=["answers", "answers.dead"])

        asyncio.run(self._ask(act))

    def send(self, data, headers, subject="ask.double"):
        async def act(client):
            await client.jetstream().publish(subject, data, headers=dict(headers) or None)

        asyncio.run(self._ask(act))

    def told(self, subject):
        async def act(client):
            stream = client.jetstream()
            count = (await stream.stream_info("told")).state.messages
            found = [await stream.get_msg("told", seq) for seq in range(1, count + 1)]
            return [(_lower(one.headers), one.data) for one in found if one.subject == subject]

        return asyncio.run(self._ask(act))

    def pending(self):
        """Messages that were handed over and not acknowledged, and those that wait."""

        async def act(client):
            found = await client.jetstream().consumer_info("ask", "modelworks")
            return found.num_ack_pending + found.num_pending

        return asyncio.run(self._ask(act))


class Listener:
    """Who waits for an answer on a plain NATS subject."""

    def __init__(self, server, subject):
        self.found = []
        self._server, self._subject = server, subject
        self._thread = None
        self._over = threading.Event()
        self._ready = threading.Event()

    def __call__(self):
        if self._thread is None:
            self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))
            self._thread.start()
            assert self._ready.wait(10)
        return list(self.found)

    def stop(self):
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    async def _listen(self):
        async def came(message):
            self.found.append((_lower(message.headers), message.data))

        async def act(client):
            await client.subscribe(self._subject, cb=came)
            await client.flush()
            self._ready.set()
            await asyncio.to_thread(self._over.wait)

        await self._server._ask(act)


class Mosquitto:
    """A Mosquitto broker that keeps sessions on the disk; `rules` say who may write where."""

    def __init__(self, folder, rules=""):
        self.folder = folder
        self.rules = rules
        self.port = free_port()
        self._process = None

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            missing("mosquitto", "apt-get install mosquitto")
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nautosave_interval 1\n"
            "autosave_on_changes true\nuser root\n"
        )
        if self.rules:
            (self.folder / "rules").write_text(self.rules)
            with config.open("a") as file:
                file.write(f"acl_file {self.folder}/rules\n")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", config], stdout=log, stderr=log)
        eventually("mosquitto", self._ready, self._process)

    def stop(self):
        """End it, with what it has on the disk."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()

    def _ready(self):
        import socket

        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False


class Post:
    """Sends to a Mosquitto, and notes what comes to some topics; comes back with the broker."""

    def __init__(self, server, *topics):
        import paho.mqtt.client as mqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.came = {topic: [] for topic in topics}
        self._ready = threading.Event()
        self._client = client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="post", protocol=mqtt.MQTTv5
        )
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda c, *_: c.subscribe([(topic, 1) for topic in topics])
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = self._message
        # What is answered while it is away waits for it, whoever comes back first.
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", server.port, clean_start=False, properties=kept)
        client.loop_start()
        assert self._ready.wait(10)

    def _message(self, _client, _data, message):
        told = message.properties
        headers = dict(getattr(told, "UserProperty", ()))
        headers["correlation-id"] = getattr(told, "CorrelationData", b"").decode()
        self.came[message.topic].append((headers, message.payload))

    def send(self, data, headers, topic="ask/double", qos=1):
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        told = Properties(PacketTypes.PUBLISH)
        rest = dict(headers)
        if named := rest.pop("correlation-id", ""):
            told.CorrelationData = named.encode()
        if reply := rest.pop("reply-to", ""):
            told.ResponseTopic = reply
        if kind := rest.pop("content-type", ""):
            told.ContentType = kind
        told.UserProperty = list(rest.items())
        self._client.publish(topic, data, qos=qos, properties=told).wait_for_publish(10)

    def stop(self):
        self._client.disconnect()
        self._client.loop_stop()


def _lower(headers):
    return {name.lower(): value for name, value in (headers or {}).items()}
