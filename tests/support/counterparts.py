"""Real counterparts of the network meters: simulators of a BMC and of SNMP agents."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters
from tests.support.programs import eventually, free_port, running

LAN = """\
name "joulemill"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 2 true "meter" "s3cret" admin 10 none md2 md5 straight
"""


def sensor_record(name: bytes, watts_a_step: int) -> list[int]:
    """A full sensor record (IPMI 2.0, 43.1): unsigned watts, linear, M = ``watts_a_step``."""
    entity, kind, masks, units = [0x15, 1, 0x7F, 0x68], [0x0B, 0x01], [0] * 6, [0x00, 0x06, 0x00]
    linear = [0, watts_a_step, 0, 0, 0, 0, 0]
    ranges = [0, 0, 0, 0, 0xFF, 0, *[0] * 6, 0, 0, 0, 0, 0]
    body = [0x20, 0, 1, *entity, *kind, *masks, *units, *linear, *ranges, 0xC0 | len(name), *name]
    return [0, 0, 0x51, 0x01, len(body), *body]


@pytest.fixture(scope="module")
def bmc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("ipmi_sim") is None or shutil.which("ipmitool") is None:
        pytest.skip("needs Debian's openipmi (ipmi_sim) and ipmitool")
    folder = tmp_path_factory.mktemp("bmc")
    (folder / "state").mkdir()
    port = free_port(socket.SOCK_DGRAM)
    (folder / "lan.conf").write_text(LAN.format(port=port))
    record = " ".join(f"0x{b:02x}" for b in sensor_record(b"Pwr Consumption", 2))
    (folder / "commands").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n"
        f"sensor_add 0x20 0 1 0x0b 0x01\nmain_sdr_add 0x20 {record}\nmc_enable 0x20\nsensor_set_value 0x20 0 1 175 0\n"
    )
    host = f"127.0.0.1:{port}"
    with running("ipmi_sim", "-c", "lan.conf", "-f", "commands", "-s", "state", "-n", cwd=str(folder)):
        raw = [
            "ipmitool",
            "-C",
            "3",
            "-I",
            "lanplus",
            "-H",
            "127.0.0.1",
            "-p",
            str(port),
            "-U",
            "meter",
            "-E",
            "raw",
            "4",
        ]
        environment = {**os.environ, "IPMI_PASSWORD": "s3cret"}

        def scan() -> None:
            """Switch the sensor's scanning on; the simulator does so and yet answers with an error."""
            subprocess.run([*raw, "0x28", "1", "0xc0", "0", "0", "0", "0"], env=environment, check=False, timeout=60)
            subprocess.run([*raw, "0x2d", "1"], env=environment, check=True, timeout=60)

        eventually(scan)
        yield host


SECRETS = {"JOULEMILL_IPMI_USER": "meter", "JOULEMILL_IPMI_PASSWORD": "s3cret"}

APC, ST, PX = "1.3.6.1.4.1.318.1.1.26.4.3.1", "1.3.6.1.4.1.1718.4.1.8.3.1", "1.3.6.1.4.1.13742.6"

RECORDS = [
    (f"{APC}.5.1", 2, 137), (f"{APC}.9.1", 66, 45678),
    (f"{ST}.7.1.1.4", 2, 212), (f"{ST}.14.1.1.4", 66, 1000), (f"{ST}.7.1.1.12", 2, 218), (f"{ST}.14.1.1.12", 66, 1100),
    (f"{PX}.5.4.3.1.4.1.7.5", 66, 3455), (f"{PX}.3.5.4.1.7.1.7.5", 66, 1),
    (f"{PX}.5.4.3.1.4.1.7.8", 66, 98765), (f"{PX}.3.5.4.1.7.1.7.8", 66, 0),
    (f"{PX}.5.2.3.1.4.1.1.5", 66, 4200), (f"{PX}.3.3.4.1.7.1.1.5", 66, 0),
]  # fmt: skip


def numeric(record: tuple[str, int, int]) -> list[int]:
    return [int(x) for x in record[0].split(".")]


@pytest.fixture(scope="module")
def agent() -> Iterator[str]:
    """A simulated PDU. Its folder is no folder of pytest's: the next pytest of this user that starts makes those
    private, and an agent that runs as nobody ends then.
    """
    if shutil.which("snmpsimd") is None:
        pytest.skip("needs Debian's snmpsim")
    with tempfile.TemporaryDirectory(prefix="snmp-") as name:
        yield from _agent(Path(name))


def _agent(folder: Path) -> Iterator[str]:
    folder.chmod(0o755)
    (folder / "data").mkdir()
    lines = [f"{o}|{t}|{v}" for o, t, v in sorted(RECORDS, key=numeric)]
    (folder / "data" / "s3cret.snmprec").write_text("\n".join(lines) + "\n")
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0o777)
    port = free_port(socket.SOCK_DGRAM)
    command = [
        "snmpsimd",
        f"--data-dir={folder / 'data'}",
        f"--cache-dir={folder / 'cache'}",
        f"--agent-udpv4-endpoint=127.0.0.1:{port}",
    ]
    if os.geteuid() == 0:
        command += ["--process-user=nobody", "--process-group=nogroup"]
    with running(*command):
        eventually(lambda: values(opened(f"snmp:127.0.0.1:{port},pdu=apc")))
        yield f"127.0.0.1:{port}"


def opened(spec: str, **context: object) -> Meter:
    surroundings = MeterContext(environ={"JOULEMILL_SNMP_COMMUNITY": "s3cret"})
    return open_meters([spec], replace(surroundings, **context))[0]  # type: ignore[arg-type]


def values(meter: Meter) -> dict[str, float | None]:
    return {r.channel.split("/", 1)[1]: r.value for r in meter.read()}
