"""A real Kafka broker of a test's own: its jars come from Maven's cache, or over the network if they are not there yet.

Where Java or Maven is not installed, there are no tests of Kafka, unless BROKERS=all wants them, as in CI.
"""

import asyncio
import fcntl
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.support.ports import choose_ports
from tests.support.processes import ROOT, run_program, until

IS_WANTED = os.environ.get("BROKERS") == "all" or all(map(shutil.which, ("java", "mvn")))
POM = ROOT / "tests/clients/kafka-broker/pom.xml"
INSTALL_SECONDS = 600
TOPIC, PARTITIONS = "ledger", 3
END = b"end"
CLUSTER = "bGVkZ2VyLW9mLXRlc3RzIQ"  # 16 bytes in base64
CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


class Record(NamedTuple):
    """A record of a topic."""

    partition: int
    key: str
    body: bytes


class KafkaBroker:
    """One broker, which is its own controller."""

    def __init__(self, folder: Path, jars: Path) -> None:
        self._folder = folder
        self._jars = jars
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a ledger that publishes to it."""
        return {"ledger_kafka_servers": f"127.0.0.1:{self.port}", "ledger_kafka_partitions": PARTITIONS}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def create(self) -> None:
        """Make the broker's folder, and choose its ports."""
        self.port, controller = choose_ports(2)
        self._folder.mkdir()
        config = CONFIG.format(port=self.port, controller=controller, logs=self._folder / "logs")
        (self._folder / "server.properties").write_text(config)
        formatted = await self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c")
        assert 0 == await formatted.wait(), self.log

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    async def start(self) -> None:
        """Start the broker, and return when it answers."""
        self._process = await self._run("kafka.Kafka")
        await until(self._answers)

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def read_bodies(self) -> list[bytes]:
        """Return what was published; events of one stream are in order."""
        return [record.body for record in await self.read()]

    async def read(self) -> list[Record]:
        """Return all committed records, those of a partition in order.

        A record at the end of each partition says where to stop: transactions leave offsets without a record.
        """
        address = {"bootstrap_servers": f"127.0.0.1:{self.port}"}
        async with AIOKafkaProducer(**address) as producer:
            sent = [await producer.send_and_wait(TOPIC, b"", key=END, partition=one) for one in range(PARTITIONS)]
        found: list[Record] = []
        async with AIOKafkaConsumer(isolation_level="read_committed", **address) as consumer:
            for end in sent:
                partition = TopicPartition(TOPIC, end.partition)
                consumer.assign([partition])
                await consumer.seek_to_beginning(partition)
                while True:
                    record = await consumer.getone(partition)
                    if record.offset == end.offset:
                        break
                    if record.key != END:
                        found.append(Record(record.partition, record.key.decode(), record.value))
        return found

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.log
        client = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{self.port}")
        try:
            await client.start()
        except (KafkaError, OSError):
            return False
        finally:
            await client.close()
        return True

    async def _run(self, program: str, *arguments: str) -> asyncio.subprocess.Process:
        """Start a program of Kafka with the broker's configuration as its last argument."""
        memory = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command = (
            "java",
            *memory,
            "-cp",
            f"{self._jars}/*",
            program,
            *arguments,
            str(self._folder / "server.properties"),
        )
        with (self._folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )


@asynccontextmanager
async def running_kafka(folder: Path, shared: Path) -> AsyncIterator[KafkaBroker]:
    """Run a broker; nothing of it runs in the end. Its jars are in a folder that all processes of a run share."""
    broker = KafkaBroker(folder, await _install(shared / "kafka"))
    await broker.create()
    try:
        await broker.start()
        yield broker
    finally:
        await broker.kill()


async def _install(folder: Path) -> Path:
    """Return the folder with the jars, which one process of all copies out of Maven's cache."""
    assert all(map(shutil.which, ("java", "mvn"))), "Java or Maven is not installed, and BROKERS=all wants them"
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            command = ("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies")
            ran = await run_program(
                *command, f"-DoutputDirectory={folder}/jars", folder=folder, deadline_seconds=INSTALL_SECONDS
            )
            assert 0 == ran.status, f"{ran.output}{ran.error}\n(the first run needs the network)"
            (folder / "done").touch()
    return folder / "jars"
