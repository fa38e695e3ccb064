"""Real servers in the shapes that people run: one, behind Sentinel, as a cluster, with TLS.

Each shape is a context manager: ready when entered, and at its end nothing of it is left, whatever
happened in between. All of this blocks; in a test with work under way, call what takes a while
through `asyncio.to_thread`.
"""

import contextlib
import ipaddress
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

HOST = "127.0.0.1"
SERVICE = "mymaster"


# Ports that nobody else of this test run takes: below the kernel's range for clients, a slice for
# each worker, and none twice. A cluster's node also listens 10,000 above its port.
FIRST_PORT, SLICE = 10240, 1000
_taken: set[int] = set()


def free_port() -> int:
    """A port that nobody takes while its server is down."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
    while True:
        port = FIRST_PORT + worker * SLICE + random.randrange(SLICE)
        if port in _taken:
            continue
        _taken.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


def wait_until(true: Callable[[], bool], what: str, timeout: float = 20) -> None:
    """Wait until something is true; an error of Redis counts as not yet."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if true():
                return
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)


class Node:
    """A server process that can be killed, frozen and started again, on its port, in its folder.

    `password` is `requirepass` and `masterauth`; `sentinel` is the configuration of a Sentinel;
    with `tls` the port speaks TLS, and `tls` are the options of a client that may connect.
    """

    def __init__(
        self,
        binary: str,
        folder: Path,
        *options: str,
        password: str = "",
        sentinel: str = "",
        tls: dict[str, Any] | None = None,
    ) -> None:
        self.binary, self.folder, self.options, self.tls = binary, folder, options, tls or {}
        self.port, self.password = free_port(), password
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "sentinel.conf" if sentinel else None
        if self._config:
            self._config.write_text(f'port {self.port}\nbind {HOST}\ndir "{folder}"\n{sentinel}\n')

    @property
    def url(self) -> str:
        """For a client without TLS."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        if self._config:
            return [self.binary, str(self._config), "--sentinel", "--daemonize", "no"]
        ports = (
            ["--port", "0", "--tls-port", str(self.port)]
            if self.tls
            else ["--port", str(self.port)]
        )
        login = (
            ["--requirepass", self.password, "--masterauth", self.password] if self.password else []
        )
        common = ["--bind", HOST, "--dir", str(self.folder), "--save", "", "--daemonize", "no"]
        # else each first replica waits 5 s for others
        common += ["--repl-diskless-sync-delay", "0"]
        return [self.binary, *ports, *common, *login, *self.options]

    def _launch(self) -> None:
        assert self.process is None, "it runs already"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._launch()

        def answers() -> bool:
            assert self.process is not None
            # else somebody else's server took the port, and we would talk to that one
            assert self.process.poll() is None, (
                f"{self.binary} ended at its start: {self.log()[-600:]}"
            )
            return bool(self.call("PING"))

        wait_until(answers, f"{self.binary} answers")

    def log(self) -> str:
        """Return what the server printed."""
        return (self.folder / "log").read_text(errors="replace")

    def client(self, **options: Any) -> redis.Redis:
        """Return a client that tries once and gives up after two seconds; close it."""
        ours = {"socket_timeout": 2, "decode_responses": True, "retry": Retry(NoBackoff(), 0)}
        password = self.password or None
        return redis.Redis(
            host=HOST, port=self.port, password=password, **{**ours, **self.tls, **options}
        )

    def call(self, *command: Any) -> Any:
        """Send one command over a connection of its own."""
        with self.client() as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """Kill it, frozen or not, and wait until it is gone."""
        process, self.process = self.process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """Stop it: connections stay, nobody answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on; it does not know that time has passed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill it if it runs, and start it again."""
        self.kill()
        self.start()

    def linked(self) -> bool:
        """Tell whether this is a replica that has caught up with its primary's history."""
        with self.client() as client:
            info = client.info("replication")
        return info["role"] == "slave" and info.get("master_link_status") == "up"


class Setup:
    """Some nodes in a temporary folder. A subclass makes them in `_form`."""

    def __init__(self, binary: str, password: str = "") -> None:
        self.binary, self.password = binary, password
        self.nodes: list[Node] = []
        self.folder = Path()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self.folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="ted-")))
            undo.callback(lambda: [node.kill() for node in self.nodes])
            self._form()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    def _form(self) -> None:
        raise NotImplementedError

    def _node(self, *options: str, **more: Any) -> Node:
        """Make a node; it is killed at the end, whether or not it is started."""
        node = Node(
            self.binary,
            self.folder / str(len(self.nodes)),
            *options,
            password=self.password,
            **more,
        )
        self.nodes.append(node)
        return node

    @property
    def _login(self) -> str:
        return f":{self.password}@" if self.password else ""

    def at(self, port: int) -> Node:
        """Return the node on a port."""
        return next(node for node in self.nodes if node.port == port)


class SingleSetup(Setup):
    """One server, and replicas without anybody who would promote them."""

    def __init__(self, binary: str, *options: str, replicas: int = 0, password: str = "") -> None:
        super().__init__(binary, password)
        self._options, self._replicas = options, replicas

    def _form(self) -> None:
        self.node = self._node(*self._options)
        self.node.start()
        follow = ("--replicaof", f"{HOST} {self.node.port}")
        self.replicas = [self._node(*self._options, *follow) for _ in range(self._replicas)]
        for replica in self.replicas:
            replica.start()
        wait_until(
            lambda: all(replica.linked() for replica in self.replicas), "replicas are linked"
        )

    @property
    def url(self) -> str:
        return self.node.url


class SentinelSetup(Setup):
    """One primary, two replicas, and three Sentinels that replace it after 0.5 s of silence."""

    def _form(self) -> None:
        first = self._node()
        follow = ("--replicaof", f"{HOST} {first.port}")
        self.servers = [first, self._node(*follow), self._node(*follow)]
        for server in self.servers:
            server.start()
        # else Sentinel hears of them 10 s later
        wait_until(
            lambda: first.call("INFO", "replication")["connected_slaves"] == 2, "two replicas"
        )
        rules = [
            f"sentinel monitor {SERVICE} {HOST} {first.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 3000",
            f"sentinel parallel-syncs {SERVICE} 1",
            *([f"sentinel auth-pass {SERVICE} {self.password}"] if self.password else []),
        ]
        self.sentinels = [
            Node(self.binary, self.folder / f"sentinel{i}", sentinel="\n".join(rules))
            for i in range(3)
        ]
        self.nodes += self.sentinels
        for sentinel in self.sentinels:
            sentinel.start()
        self.heal()

    def heal(self) -> None:
        """Start what was killed; wait until two follow one primary and all Sentinels see it so."""
        for node in self.nodes:
            if node.process is None:
                node.start()
        wait_until(self._whole, "Sentinels see each other, the primary and two linked replicas", 60)

    def _whole(self) -> bool:
        primary = self.primary()
        others = [server for server in self.servers if server is not primary]
        return all(self._sees(sentinel, primary) for sentinel in self.sentinels) and all(
            o.linked() for o in others
        )

    def _sees(self, sentinel: Node, primary: Node) -> bool:
        state = sentinel.call("SENTINEL", "MASTER", SERVICE)
        seen = (
            int(state["port"]),
            state["flags"],
            int(state["num-slaves"]),
            int(state["num-other-sentinels"]),
        )
        replicas = sentinel.call("SENTINEL", "REPLICAS", SERVICE)
        fresh = all(
            replica["flags"] == "slave" and replica["master-link-status"] == "ok"
            for replica in replicas
        )
        return seen == (primary.port, "master", 2, 2) and fresh

    @property
    def url(self) -> str:
        addresses = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{self._login}{addresses}/{SERVICE}/0"

    def primary(self) -> Node:
        """Return the server that the Sentinels name as primary now."""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError, OSError):
                _, port = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return self.at(int(port))
        raise AssertionError("no Sentinel answers")

    def wait_for_failover(self, old: Node) -> Node:
        """Wait until another server has taken over and accepts writes; return it."""
        wait_until(
            lambda: self.primary() is not old and self.primary().call("ROLE")[0] == "master",
            "a failover",
            30,
        )
        return self.primary()

    def kill_primary(self) -> Node:
        (primary := self.primary()).kill()
        return primary

    def freeze_primary(self) -> Node:
        (primary := self.primary()).freeze()
        return primary


class ClusterSetup(Setup):
    """Three primaries, three replicas."""

    def _form(self) -> None:
        for _ in range(6):
            options = [
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                str(free_port()),
                "--cluster-announce-ip",
                HOST,
            ]
            self._node(*options, "--cluster-node-timeout", "1000")
        for i, node in enumerate(self.nodes):
            node.start()
            # before one of an earlier test's may call it
            node.call("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        self.primaries, replicas = self.nodes[:3], self.nodes[3:]
        self.ids = {node.port: node.call("CLUSTER", "MYID") for node in self.nodes}
        for i, primary in enumerate(self.primaries):
            primary.call("CLUSTER", "ADDSLOTSRANGE", 16384 * i // 3, 16384 * (i + 1) // 3 - 1)
        for node in self.nodes:
            bus = node.options[node.options.index("--cluster-port") + 1]
            self.nodes[0].call("CLUSTER", "MEET", HOST, node.port, bus)
        wait_until(
            lambda: all(len(self._known(node)) == 6 for node in self.nodes), "all know each other"
        )
        for primary, replica in zip(self.primaries, replicas, strict=True):
            replica.call("CLUSTER", "REPLICATE", self.ids[primary.port])
        wait_until(
            lambda: {n.call("CLUSTER INFO")["cluster_state"] for n in self.nodes} == {"ok"},
            "all say ok",
        )
        wait_until(lambda: all(replica.linked() for replica in replicas), "all replicas are linked")

    @staticmethod
    def _known(node: Node) -> list[Any]:
        return [
            one for one in node.call("CLUSTER NODES").values() if "handshake" not in one["flags"]
        ]

    @property
    def url(self) -> str:
        addresses = ",".join(f"{HOST}:{node.port}" for node in self.nodes[:2])
        return f"redis+cluster://{self._login}{addresses}"

    @staticmethod
    def slot_of(key: str) -> int:
        """Return the slot of a key."""
        return int(key_slot(key.encode()))

    def owner(self, slot: int) -> Node:
        """Return the primary that serves a slot."""
        for node in self.nodes:
            with contextlib.suppress(redis.RedisError, OSError):
                slots = node.call("CLUSTER", "SLOTS")
                return next(
                    self.at(primary[1])
                    for first, last, primary, *_ in slots
                    if first <= slot <= last
                )
        raise AssertionError("no node answers")

    def move_slot(self, slot: int, to: Node, batch: int = 10) -> None:
        """Move a slot while it is in use, as redis-cli does, with as many keys at a time."""
        source = self.owner(slot)
        to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self.ids[source.port])
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self.ids[to.port])
        login = ("AUTH", self.password) if self.password else ()
        with source.client(socket_timeout=10) as client:
            while names := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, batch):
                client.execute_command(
                    "MIGRATE", HOST, to.port, "", 0, 5000, *login, "KEYS", *names
                )
        for node in (to, source, *(p for p in self.primaries if p not in {to, source})):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", self.ids[to.port])


class TlsSetup(Setup):
    """A server that speaks TLS only. `mutual`: clients must show a certificate of our authority."""

    def __init__(self, binary: str, *, mutual: bool = False, password: str = "") -> None:
        super().__init__(binary, password)
        self.mutual = mutual

    def _form(self) -> None:
        make_certificates(self.folder)
        self.paths = {
            name: str(self.folder / name) for name in ("ca.crt", "server.crt", "server.key")
        }
        client = {"ssl_ca_certs": self.paths["ca.crt"]}
        if self.mutual:
            client |= {
                f"ssl_{n}file": str(self.folder / f"client.{e}")
                for n, e in (("cert", "crt"), ("key", "key"))
            }
        self.client_options = client
        names = {"cert": "server.crt", "key": "server.key", "ca-cert": "ca.crt"}
        options = [
            part for n, path in names.items() for part in (f"--tls-{n}-file", self.paths[path])
        ]
        options += ["--tls-auth-clients", "yes" if self.mutual else "no"]
        self.node = self._node(*options, tls={"ssl": True, **client})
        self.node.start()

    @property
    def url(self) -> str:
        options = "&".join(f"{name}={path}" for name, path in self.client_options.items())
        return f"rediss://{self._login}{HOST}:{self.node.port}/0?{options}"


def make_certificates(folder: Path) -> None:
    """Write `ca.crt`, and `server` and `client` as `.crt` and `.key`, all valid for a day."""
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("ted-memory test authority")
    _write(folder / "ca.crt", _certificate(issuer, issuer, authority, authority, ca=True))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        _write(folder / f"{name}.crt", _certificate(_name(name), issuer, key, authority, ca=False))
        _write(folder / f"{name}.key", key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if not ca:
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")]
        )
        made = made.add_extension(names, critical=False)
    return made.sign(by, hashes.SHA256())


def _write(path: Path, what: x509.Certificate | ec.EllipticCurvePrivateKey) -> None:
    pem = serialization.Encoding.PEM
    if isinstance(what, x509.Certificate):
        path.write_bytes(what.public_bytes(pem))
    else:
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.write_bytes(what.private_bytes(pem, form, plain))
