"""The wheel has everything that the service needs, and the files for containers and CI are correct.

There is no container engine where these tests run, so they compare the files with the code.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.audit.statements.canvas import FONTS
from ledger.embedded.binaries import find_programs
from ledger.environment.variables import read
from ledger.settings import SECRETS as SECRET_SETTINGS
from ledger.settings import VARIABLES, Settings
from ledger.store import migrate
from tests.support.controls import Api
from tests.support.processes import ROOT, environment, processes, until
from web.handlers.console import FOLDER as CONSOLE
from web.handlers.docs import FOLDER
from web.openapi import path_of
from web.routes import ROUTES, UNVERSIONED

GIVEN = {
    "POSTGRES_PASSWORD": "a password",
    "SERVING_PASSWORD": "a password of the role that serves",
    "VALKEY_PASSWORD": "apassword",
    "LEDGER_ADMIN_PASSWORD": "a password",
    "JWT_SECRET": "a secret that is long enough for HS256",
    "LEDGER_METRICS_TOKEN": "",
}
SECRETS = {name for name, value in GIVEN.items() if value}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_module_every_migration_the_page_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for name in ("ledger", "web") for path in (ROOT / name).rglob("*.py")}
    schema = {f"ledger/schema/{path.relative_to(ROOT / 'migrations')}" for path in (ROOT / "migrations").rglob("*.py")}
    page = {str(path.relative_to(ROOT)) for path in (*FOLDER.iterdir(), *CONSOLE.rglob("*.*"))}
    fonts = {str(path.relative_to(ROOT)) for path in FONTS.iterdir()}
    assert set() == (modules | schema | page | fonts) - names
    assert [name for name in names if name.startswith(f"ledger/schema/versions/{migrate.latest_migration()}_")]
    assert [name for name in names if name.endswith("dist-info/licenses/LICENSE")]
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]


def test_an_installed_wheel_runs_and_migrates(wheel: Path, settings: Settings, tmp_path: Path) -> None:
    """The wheel is installed in a virtual environment that finds all packages but the ledger in this one."""
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # whose own .pth files are not read
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    variables = environment({**settings.environment(), "LEDGER_SCHEMA": "fresh"})
    del variables["PYTHONPATH"]

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=variables, check=True, capture_output=True, text=True)
        return done.stdout

    assert str(site) in run(str(python), "-c", "import web.app; print(web.app.__file__)")
    assert "serve" in run(str(home / "bin" / "ledger"), "--help")
    run(str(home / "bin" / "ledger"), "migrate")


# Containers


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yml").read_text()))


def substitute(value: str) -> str:
    """Return a value with its variables replaced as Compose does."""
    return re.sub(r"\$\{(\w+)(?::[?-][^}]*)?\}", lambda match: GIVEN[match[1]], value)


@pytest.mark.parametrize("service", ["ledger", "migrate"])
def test_the_service_accepts_the_settings_in_compose(service: str) -> None:
    variables: dict[str, str] = compose()["services"][service]["environment"]
    members = {
        name.lower(): substitute(value)
        for name, value in variables.items()
        if substitute(value) and name != "PGPASSWORD"  # which PostgreSQL's clients read
    }
    assert set() == members.keys() - Settings.model_fields.keys()
    settings = Settings(**members)
    assert (True, True) == (settings.has_database, settings.has_redis)


def test_compose_has_no_secrets_and_does_not_start_without_them() -> None:
    """Lesson 31."""
    text = (ROOT / "compose.yml").read_text()
    given = re.findall(r"^ +(\w*(?:PASSWORD|SECRET|TOKEN)): (.*)$", text, re.MULTILINE)
    values = re.findall(r"\$\{(\w+):[?-]", "".join(value for _, value in given))
    assert {*values} == GIVEN.keys() - {"VALKEY_PASSWORD"}
    assert 2 == text.count("${VALKEY_PASSWORD:?") == text.count("${VALKEY_PASSWORD")
    for name, value in zip(values, (value for _, value in given), strict=True):
        required = f"${{{name}:?" if name in SECRETS else f"${{{name}:-}}"
        assert value.startswith(required), name


def test_only_the_migration_gets_the_password_of_the_owner() -> None:
    services = compose()["services"]
    users = {name for name, service in services.items() if "${POSTGRES_PASSWORD" in str(service["environment"])}
    assert {"postgres", "migrate"} == users


SERVICE_SECRETS = {"POSTGRES_PASSWORD": "POSTGRES_PASSWORD", "VALKEYCLI_AUTH": "VALKEY_PASSWORD"}


def services_alone() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.services.yml").read_text())["services"])


def test_the_services_alone_are_those_of_the_whole_system() -> None:
    whole, alone = compose()["services"], services_alone()
    assert {"postgres", "valkey"} == alone.keys()
    for name, service in alone.items():
        same = ("image", "volumes", "restart", *(("command", "shm_size") if name == "postgres" else ("read_only",)))
        assert [whole[name][key] for key in same] == [service[key] for key in same]
        assert whole[name]["healthcheck"].keys() == service["healthcheck"].keys()
    assert whole["postgres"]["environment"].keys() == alone["postgres"]["environment"].keys()
    assert whole["valkey"]["command"] == alone["valkey"]["command"]


def test_only_the_service_reaches_postgresql_and_valkey() -> None:
    """Lesson 31: neither has a way out, and neither reaches the other."""
    whole = compose()
    networks = {name: set(service["networks"]) for name, service in whole["services"].items()}
    assert {"postgres": {"database"}, "valkey": {"cache"}} == {name: networks[name] for name in ("postgres", "valkey")}
    assert {"database", "cache"} == networks["migrate"] == networks["ledger"] - {"default"}
    assert {"database": {"internal": True}, "cache": {"internal": True}} == whole["networks"]
    assert all("no-new-privileges:true" in service["security_opt"] for service in whole["services"].values())


def test_the_services_alone_need_secrets_and_are_open_to_this_machine_only() -> None:
    """Lesson 31."""
    services = services_alone()
    given = {name: value for service in services.values() for name, value in service["environment"].items()}
    for name, variable in SERVICE_SECRETS.items():
        assert f"${{{variable}:?set {variable}}}" == given[name]
    assert [["127.0.0.1:${POSTGRES_PORT:-5432}:5432"], ["127.0.0.1:${REDIS_PORT:-6379}:6379"]] == [
        service["ports"] for service in services.values()
    ]


def test_one_env_file_serves_the_services_alone_and_the_ledger(tmp_path: Path) -> None:
    """The ledger takes no variable of Compose for a misspelling of its own, and finds both servers."""
    text = (ROOT / "compose.services.yml").read_text()
    read_by_compose = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert read_by_compose >= {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "POSTGRES_PORT", "REDIS_PORT"}
    values = {name: "5432" if name.endswith("_PORT") else "secret" for name in read_by_compose}
    values |= {"POSTGRES_HOST": "127.0.0.1", "REDIS_URL": "redis://:secret@127.0.0.1:6379/0"}
    file = tmp_path / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    settings = Settings(**read({"LEDGER_ENV_FILE": str(file)}, VARIABLES, SECRET_SETTINGS))
    assert (True, True) == (settings.has_database, settings.has_redis)


async def test_the_valkey_alone_demands_its_password_and_does_not_show_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Lesson 31: the test runs the command of the container, on a socket."""
    folder = tmp_path_factory.mktemp("v")
    command = [part.replace("$$", "$") for part in services_alone()["valkey"]["command"]]
    password = "a-password-of-the-services"
    process = await asyncio.create_subprocess_exec(
        *[*command, "--port", "0", "--unixsocket", str(folder / "s"), "--dir", str(folder)],
        env={"VALKEYCLI_AUTH": password, "PATH": f"{find_programs().valkey.parent}:{os.environ['PATH']}"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await until((folder / "s").exists)
        with_password = Redis(unix_socket_path=str(folder / "s"), password=password, protocol=2)
        without = Redis(unix_socket_path=str(folder / "s"), protocol=2)
        async with with_password, without:
            assert await with_password.ping()
            assert {"appendonly": "yes"} == await with_password.config_get("appendonly")
            with pytest.raises(RedisError, match="Authentication required"):
                await without.ping()
        (listed,) = [row.command for row in processes() if row.pid == process.pid]
        assert ("valkey-server", False) == (Path(listed.split()[0]).name, password in listed)
    finally:
        process.kill()
        await process.wait()


def test_compose_opens_no_port_to_other_machines_and_mounts_roots_read_only() -> None:
    services = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ["127.0.0.1:8080:8080"] == ports
    for name in ("ledger", "migrate"):
        assert (True, ["ALL"]) == (services[name]["read_only"], services[name]["cap_drop"])


def test_compose_starts_dependencies_first() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            checked = "healthcheck" in services[other] and "test" in services[other]["healthcheck"]
            assert how["condition"] == ("service_healthy" if checked else "service_completed_successfully"), name
    assert {"migrate", "postgres", "valkey"} == services["ledger"]["depends_on"].keys()


def test_compose_gives_a_worker_the_time_to_stop() -> None:
    grace = int(compose()["services"]["ledger"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings(jwt_secret=GIVEN["JWT_SECRET"]).stop_seconds() + 5


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions, with continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_the_image_runs_as_an_unprivileged_user_and_has_a_health_check() -> None:
    instructions = dockerfile()
    last = max(number for number, (name, _) in enumerate(instructions) if name == "FROM")
    final = instructions[last:]
    assert ["10001:10001"] == [value for name, value in final if name == "USER"]
    (check,) = [value for name, value in final if name == "HEALTHCHECK"]
    paths = {path_of(route) for route in (*ROUTES, *UNVERSIONED) if route.access.roles is None}
    assert set(re.findall(r"/v1/\w+", check)) <= paths
    assert [] == [value for name, value in instructions if name == "FROM" and not re.match(r"\S+:[\w.]+-", value)]
    assert "--require-hashes" in " ".join(value for name, value in instructions if name == "RUN")


async def test_the_image_is_healthy_while_the_service_is_ready(api: Api, connection: Any) -> None:
    (check,) = [value for name, value in dockerfile() if name == "HEALTHCHECK"]
    python, *arguments = json.loads(check.partition("CMD ")[2])
    assert "python" == python

    async def status() -> int | None:
        port = {"SERVICE_PORT": str(api.client.port)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=port, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait()

    assert 0 == await status()
    await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert 1 == await status()


def test_the_files_of_the_image_exist_and_are_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, value in dockerfile():
        if name == "COPY" and not value.startswith("--from"):
            sources = set(value.split()[:-1])
            assert sources <= kept
            assert all((ROOT / source).exists() for source in sources)


# CI


def test_ci_runs_targets_of_the_makefile() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    ran = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets_run = {command.split()[1] for command in ran if command.startswith("make ")}
    assert {"check", "build", "licences", "sbom", "tools"} <= targets_run <= targets
    audited = {command.split()[-1] for command in ran if "pip-audit" in command}
    assert audited == {str(file.relative_to(ROOT)) for file in ROOT.glob("[re]*/**/*.txt") if "==" in file.read_text()}


def test_actions_and_images_are_pinned_by_digest() -> None:
    """A tag can be moved to other code. The comment says which release the digest of an action is."""
    workflows = "".join(file.read_text() for file in ROOT.glob(".github/workflows/*.yml"))
    uses = re.findall(r"uses: (.+)", workflows)
    assert len(uses) > 5
    assert [] == [one for one in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", one)]
    files = [(ROOT / name).read_text() for name in ("compose.yml", "compose.services.yml", "Dockerfile")]
    images = re.findall(r"^(?: +image:|FROM) (\S+)", "\n".join(files), re.MULTILINE)
    pinned = [one for one in images if re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", one)]
    assert ["ledger"] == [one for one in images if one not in pinned]  # which compose builds
    assert len({one.partition("@")[0] for one in pinned}) == len(set(pinned)) == 3


def test_ci_makes_a_bill_of_materials() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    ran, kept = [step.get("run") for step in jobs["sbom"]["steps"]], jobs["sbom"]["steps"][-1]["with"]["path"]
    recipe = (ROOT / "Makefile").read_text().partition("\nsbom:")[2].partition("\n\n")[0]
    assert "make sbom PYTHON=python" in ran
    assert f"-o {kept}" in recipe


@pytest.mark.parametrize(
    "slow", ["-m venv .venv", "-r requirements/run.txt", "-r requirements/dev.txt", "ledger serve"]
)
def test_make_says_what_it_does_before_each_slow_step(slow: str) -> None:
    """A newcomer who sees no output for a minute gives up."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    (at,) = [number for number, line in enumerate(lines) if slow in line and not line.startswith("\t@echo")]
    assert (True, True) == (lines[at - 1].startswith("\t@echo '"), lines[at].startswith("\t@"))


def test_ci_tests_the_python_versions_that_the_package_promises() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    project = (ROOT / "pyproject.toml").read_text()
    tried = jobs["check"]["strategy"]["matrix"]["python"]
    (oldest,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    assert oldest == tried[0]
    assert tried == re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)


def test_the_badges_agree_with_the_package() -> None:
    project, readme = (ROOT / "pyproject.toml").read_text(), (ROOT / "README.md").read_text()
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    (licence,) = re.findall(r'^license = "(.+) AND OFL-1.1"', project, re.MULTILINE)  # that of the fonts
    assert f"python-{'_|_'.join(versions)}-blue" in readme
    assert f"licence-{licence.replace('-', '--')}-blue" in readme
    assert "strict = true" in project.partition("[tool.mypy]")[2]
