"""What the deployment files name is there and agrees; the entry point runs as the image and the unit run it."""

from __future__ import annotations

import configparser
import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from herald.cli import herald
from herald.model import Alerted
from herald.plugins.control.settings import ControlSettings
from herald.plugins.journal import JournalSettings, SqliteJournal, verify
from herald.testing import make_services

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
ENVIRONMENT = (ROOT / ".env.example").read_text(encoding="utf-8")
UNITS = ROOT / "deploy" / "systemd"
PORT = ControlSettings().port

VARIABLE = re.compile(r"\$\{([A-Z_]+)(?:(:-|:\?)([^}]*))?\}")
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)*")
TOP_KEYS = {"name", "services", "networks", "volumes", "secrets"}
SERVICE_KEYS = {
    *("build", "cap_add", "cap_drop", "command", "depends_on", "env_file", "environment", "healthcheck", "image", "init"),
    *("logging", "mem_limit", "network_mode", "networks", "pids_limit", "ports", "profiles", "read_only", "restart"),
    *("secrets", "security_opt", "shm_size", "stop_grace_period", "tmpfs", "user", "volumes"),
}
"""Keys of the compose specification that the file uses; a misspelt one is none of them."""


def filled(value: Any) -> Any:
    """Return *value* with the defaults of its variables, and a word for those that have none."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: match[3] if match[2] == ":-" else "stated", value)
    return value


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return source by target of a service's volumes, without the mode."""
    parts = [one.split(":") for one in filled(service.get("volumes", []))]
    return {part[1]: part[0] for part in parts}


def secrets(service: dict[str, Any]) -> dict[str, str]:
    """Return the name of each secret by the path at which a service finds it."""
    stated = [{"source": one} if isinstance(one, str) else one for one in service.get("secrets", [])]
    return {one.get("target", f"/run/secrets/{one['source']}"): one["source"] for one in stated}


def compose_faults(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a compose file: unknown keys, names that lead nowhere, and services that may too much."""
    faults = [f"unknown key {key}" for key in document if key not in TOP_KEYS and not key.startswith("x-")]
    services = document["services"]
    used: dict[str, set[str]] = {"volumes": set(), "secrets": set(), "networks": set()}
    for name, service in services.items():
        faults += [f"{name}: unknown key {key}" for key in service if key not in SERVICE_KEYS]
        if not PINNED.fullmatch(filled(service["image"])) and "build" not in service:
            faults.append(f"{name}: {service['image']} is not pinned")
        if service.get("cap_drop") != ["ALL"] or service.get("read_only") is not True:
            faults.append(f"{name}: has capabilities, or may write its root")
        if "no-new-privileges:true" not in service.get("security_opt", []) or service.get("privileged"):
            faults.append(f"{name}: may gain privileges")
        if not service.get("mem_limit") or not service.get("pids_limit"):
            faults.append(f"{name}: has no limits")
        if "build" not in service and str(service.get("user", "0")).split(":")[0] in ("0", "root"):
            faults.append(f"{name}: is root")
        faults += [f"{name}: {port} is open to other machines" for port in service.get("ports", []) if port[:10] != "127.0.0.1:"]
        others = list(service.get("depends_on", [])) + [service.get("network_mode", "").removeprefix("service:")]
        faults += [f"{name}: there is no service {other}" for other in others if other and other not in services]
        used["networks"] |= set(service.get("networks", []))
        used["secrets"] |= set(secrets(service).values())
        for target, source in mounts(service).items():
            if source.startswith("."):
                faults += [] if (ROOT / source).exists() else [f"{name}: there is no {source}"]
                mode = [one for one in service["volumes"] if one.endswith(f":{target}:ro")]
                faults += [] if mode else [f"{name}: may write {source}"]
            else:
                used["volumes"].add(source)
        for key, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", key) and not key.endswith("_FILE") and ":?" not in value:
                faults.append(f"{name}: {key} has a default")
    for kind, names in used.items():
        faults += [f"{kind}: {one} is not both stated and used" for one in names ^ set(document[kind])]
    return faults


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with their arguments, without comments, on one line each."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [
        (one[0].upper(), one[1]) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if (one := line.split(None, 1))
    ]


def dockerfile_faults(text: str) -> list[str]:
    """Return which of hadolint's main rules a Dockerfile breaks, and a few of our own."""
    found = instructions(text)
    words = [word for word, _ in found]
    last = len(words) - 1 - words[::-1].index("FROM")
    image = found[last + 1 :]
    faults = [f"DL3006 {rest} is not pinned" for word, rest in found if word == "FROM" and not PINNED.fullmatch(rest.split()[0])]
    faults += ["DL3020 COPY instead of ADD" for word in words if word == "ADD"]
    for word, rest in found:
        if word == "RUN":
            if "apt-get install" in rest and not ("--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest):
                faults.append("DL3009/DL3015 leaves lists of apt or takes what is recommended")
            if re.search(r"\bsudo\b|apt-get (dist-)?upgrade|curl[^|&;]*\| *(ba)?sh", rest):
                faults.append(f"DL3004/DL3005/DL4006 in {rest[:40]}")
            wants = re.findall(r"pip install [^&]*", rest)
            faults += [f"DL3013 {one}" for one in wants if "--require-hashes" not in one and "--no-index" not in one]
        if word in ("ENTRYPOINT", "CMD") and not rest.startswith("["):
            faults.append(f"DL3025 {word} is no JSON")
        if word == "WORKDIR" and not rest.startswith("/"):
            faults.append("DL3000 WORKDIR is relative")
        if word in ("ARG", "ENV") and re.search("PASSWORD|TOKEN|SECRET", rest):
            faults.append(f"{word} holds a secret")
    users = [rest.split(":")[0] for word, rest in image if word == "USER"]
    if not users or not users[-1].isdigit() or int(users[-1]) == 0:
        faults.append("DL3002 the last user is root, or no number that can be checked")
    faults += [f"COPY without --chown: {rest}" for word, rest in image if word == "COPY" and "--chown=root" not in rest]
    for word in ("HEALTHCHECK", "ENTRYPOINT", "STOPSIGNAL"):
        faults += [] if words[last:].count(word) == 1 else [f"{word} is missing, or there twice"]
    return faults


def argument(word: str) -> Any:
    """Return the argument of the last *word* of the Dockerfile that is JSON."""
    rest = [rest for name, rest in instructions(DOCKERFILE) if name == word][-1]
    return json.loads(rest[rest.index("[") :])


def settings(unit: str) -> list[tuple[str, str]]:
    """Return every key and value of a unit's sections, with lines that go on joined."""
    text = (UNITS / unit).read_text(encoding="utf-8").replace("\\\n", " ")
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def check_command(words: list[str]) -> None:
    """Fail where `herald` has no such verb, or the verb no such option."""
    command: click.Command = herald
    while isinstance(command, click.Group):
        verb = words.pop(0)
        found = command.get_command(click.Context(command), verb)
        assert found is not None, f"there is no verb {verb}"
        command = found
    known = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts} | {"--"}
    own = words[: words.index("--")] if "--" in words else words
    assert {word for word in own if word.startswith("--")} - known == set(), (command.name, own)


# --- the image ------------------------------------------------------------------------------------


def test_the_dockerfile_breaks_no_rule() -> None:
    assert [] == dockerfile_faults(DOCKERFILE)
    assert 1 == len({rest.split()[0] for word, rest in instructions(DOCKERFILE) if word == "FROM"})


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("python:3.13.7-slim-bookworm", "python:latest", "DL3006"),
        ("python:3.13.7-slim-bookworm", "python", "DL3006"),
        ("COPY herald herald", "ADD herald herald", "DL3020"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("USER 10001:10001\n", "", "DL3002"),
        ("--require-hashes ", "", "DL3013"),
        ("--chown=root:root ", "", "--chown"),
        ('ENTRYPOINT ["herald"]', "ENTRYPOINT herald", "DL3025"),
        ("STOPSIGNAL SIGTERM\n", "", "STOPSIGNAL"),
        ("RUN groupadd", "RUN apt-get update && apt-get install -y curl && groupadd", "DL3009"),
        ("WORKDIR /src", "ENV BROKER_PASSWORD=x\nWORKDIR /src", "secret"),
    ],
)
def test_a_worse_dockerfile_is_found(old: str, new: str, fault: str) -> None:
    assert old in DOCKERFILE
    assert any(fault in one for one in dockerfile_faults(DOCKERFILE.replace(old, new)))


def test_the_builder_gets_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for word, rest in instructions(DOCKERFILE)
        if word == "COPY" and "--from=" not in rest
        for source in [part for part in rest.split() if not part.startswith("--")][:-1]
    }

    assert "*" in lines
    assert let_in == copied
    assert [] == [one for one in copied if not (ROOT / one).exists()]


def test_the_image_asks_for_the_health_where_the_control_server_listens() -> None:
    health = argument("HEALTHCHECK")

    assert f"http://127.0.0.1:{PORT}/healthz" in health[-1]
    compile(health[-1], "HEALTHCHECK", "exec")
    check_command(argument("ENTRYPOINT")[1:] + argument("CMD"))


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return {canonicalize_name(one): version for one, version in re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, re.MULTILINE)}


def test_the_locks_of_the_image_fit_the_project_and_are_what_the_tests_run_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    stated = project["project"]["dependencies"] + [one for name in ("web", "metrics", "notify", "otel") for one in extras[name]]
    tested = locked("dev.txt")

    for name, wanted in (("server.txt", stated), ("build.txt", project["build-system"]["requires"])):
        versions = locked(name)
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
        assert {} == {one: version for one, version in versions.items() if tested.get(one) != version}
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        parts = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
        assert len(parts) >= len(wanted)
        assert all("--hash=sha256:" in part for part in parts)


# --- the stack ------------------------------------------------------------------------------------


def test_the_compose_file_names_what_exists_and_gives_no_service_more_than_it_needs() -> None:
    assert [] == compose_faults(COMPOSE)
    assert {"net", "herald", "prometheus", "grafana"} == {
        name for name, one in COMPOSE["services"].items() if "profiles" not in one
    }
    assert {"tls", "postgres", "redis"} == {
        one for service in COMPOSE["services"].values() for one in service.get("profiles", [])
    }


@pytest.mark.parametrize(
    ("service", "change", "fault"),
    [
        ("grafana", {"image": "grafana/grafana:latest"}, "not pinned"),
        ("grafana", {"environment": {"GF_SECURITY_ADMIN_PASSWORD": "${GRAFANA_PASSWORD:-admin}"}}, "has a default"),
        ("grafana", {"volumes": ["./monitoring/grafanas:/x:ro", "grafana:/y"]}, "there is no ./monitoring/grafanas"),
        ("prometheus", {"volumes": ["./monitoring:/x", "prometheus:/prometheus"]}, "may write ./monitoring"),
        ("prometheus", {"mem_limits": "1g"}, "unknown key"),
        ("net", {"ports": ["3000:3000"]}, "open to other machines"),
        ("herald", {"network_mode": "service:nets"}, "there is no service nets"),
        ("herald", {"cap_drop": []}, "capabilities"),
        ("redis", {"secrets": []}, "redis_conf is not both"),
        ("redis", {"user": "root"}, "is root"),
    ],
)
def test_a_worse_compose_file_is_found(service: str, change: dict[str, Any], fault: str) -> None:
    worse = copy.deepcopy(COMPOSE)
    worse["services"][service] |= change

    assert any(fault in one for one in compose_faults(worse))


def test_the_example_of_the_environment_has_every_variable_with_its_default() -> None:
    used = {(name, default if kind == ":-" else "") for name, kind, default in VARIABLE.findall(COMPOSE_TEXT)}
    shown = re.findall(r"^#?([A-Z_]+)=(.*)$", ENVIRONMENT, re.MULTILINE)

    assert used == set(shown)
    assert len(shown) == len(set(shown))
    assert ("GRAFANA_PASSWORD", "") in shown
    assert "${GRAFANA_PASSWORD:?" in COMPOSE_TEXT


def test_nothing_secret_is_taken_into_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert {".env", "herald.env", "/secrets/"} <= set(ignored)
    assert all(filled(one["file"]).startswith(("./secrets/", "/dev/null")) for one in COMPOSE["secrets"].values())


def test_ports_and_addresses_agree() -> None:
    services = COMPOSE["services"]
    targets = yaml.safe_load((ROOT / "monitoring" / "targets" / "herald.yml").read_text(encoding="utf-8"))
    listens = next(one for one in services["prometheus"]["command"] if one.startswith("--web.listen-address=")).partition("=")[2]
    proxy = (ROOT / "deploy" / "proxy" / "Caddyfile").read_text(encoding="utf-8")
    inner = [filled(one).split(":")[-1] for one in services["net"]["ports"]]

    assert [f"127.0.0.1:{PORT}"] == targets[0]["targets"]
    assert f"reverse_proxy 127.0.0.1:{PORT}\n" in proxy
    assert f"http://{listens}" == services["grafana"]["environment"]["PROMETHEUS_URL"]
    assert listens in services["prometheus"]["healthcheck"]["test"][-1]
    assert ["3000", "8443"] == inner
    assert f"https://localhost:{inner[1]} {{" in proxy
    assert mounts(services["proxy"])["/etc/caddy/Caddyfile"] == "./deploy/proxy/Caddyfile"
    assert "--config /etc/caddy/Caddyfile" in services["proxy"]["command"]
    shared = {name for name, one in services.items() if one.get("network_mode") == "service:net"}
    assert {"herald", "prometheus", "grafana", "proxy"} == shared


def test_what_is_mounted_is_where_its_reader_looks() -> None:
    services = COMPOSE["services"]
    prometheus = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text(encoding="utf-8"))
    job = prometheus["scrape_configs"][0]
    there = mounts(services["prometheus"]) | secrets(services["prometheus"])
    wanted = [*prometheus["rule_files"], job["authorization"]["credentials_file"]]
    wanted += [str(Path(one).parent) for group in job["file_sd_configs"] for one in group["files"]]
    provider = yaml.safe_load((ROOT / "monitoring/grafana/provisioning/dashboards/herald.yml").read_text(encoding="utf-8"))

    assert {f"/etc/prometheus/{one}" for one in wanted} <= set(there)
    assert "--config.file=/etc/prometheus/prometheus.yml" in services["prometheus"]["command"]
    grafana = mounts(services["grafana"])
    assert "./monitoring/grafana/dashboards" == grafana[provider["providers"][0]["options"]["path"]]
    assert "./monitoring/grafana/provisioning" == grafana["/etc/grafana/provisioning"]
    for name in ("postgres", "redis"):
        assert all(path in str(services[name]) for path in secrets(services[name])), name


def test_the_stack_runs_what_the_image_runs() -> None:
    service = COMPOSE["services"]["herald"]
    config = mounts(service)["/etc/herald"]

    assert argument("CMD") == shlex.split(filled(service["command"]))
    assert (ROOT / config / Path(argument("CMD")[-1]).name).is_file()
    assert argument("VOLUME") == [target for target in mounts(service) if target != "/etc/herald"]


# --- systemd --------------------------------------------------------------------------------------


def test_the_units_call_verbs_and_options_that_exist() -> None:
    for unit, verb in (("herald@.service", "supervise"), ("herald-backup@.service", "backup")):
        commands = [shlex.split(value) for key, value in settings(unit) if key == "ExecStart"]
        words = commands[0] if commands[0][0].endswith("/herald") else shlex.split(commands[0][-1].removeprefix("exec "))
        assert words[0] == "/opt/herald/bin/herald"
        assert words[1] == verb
        check_command(words[1:])


def test_the_unit_leaves_to_the_watchdog_what_is_its_own_and_waits_longer_than_it() -> None:
    unit = dict(settings("herald@.service"))
    grace = next(
        one.default for one in herald.get_command(click.Context(herald), "supervise").params if one.name == "grace_seconds"
    )

    assert ("on-abnormal", "mixed", "SIGTERM") == (unit["Restart"], unit["KillMode"], unit["KillSignal"])
    assert int(unit["TimeoutStopSec"]) > grace
    assert int(COMPOSE["services"]["herald"]["stop_grace_period"].removesuffix("s")) > grace
    assert "130" in unit["SuccessExitStatus"].split()


def test_a_run_without_a_vault_starts_all_the_same() -> None:
    loaded = [value.partition(":")[2] for key, value in settings("herald@.service") if key == "LoadCredential"]

    assert ["herald.%i.vault"] == loaded  # a path that is absolute would have to exist


def test_the_timer_has_its_service() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNITS / "herald-backup@.timer", encoding="utf-8")

    assert (UNITS / "herald-backup@.service").is_file()
    assert parser["Timer"]["Persistent"] == "true"
    assert parser["Install"]["WantedBy"] == "timers.target"


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"), reason="systemd-analyze is not installed"
)
def test_systemd_takes_the_units_and_finds_little_exposed(tmp_path: Path) -> None:
    units = [path.name for path in sorted(UNITS.iterdir()) if path.suffix in (".service", ".timer")]
    for name in units:
        text = (UNITS / name).read_text(encoding="utf-8").replace("/opt/herald/bin/herald", sys.executable)
        (tmp_path / name).write_text(text, encoding="utf-8")

    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (0, "") == (done.returncode, done.stdout + done.stderr)
    for name, most in (("herald@.service", 15), ("herald-backup@.service", 10)):
        command = ["systemd-analyze", "security", "--offline=true", f"--threshold={most}", f"./{name}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert 0 == done.returncode, done.stdout[-200:]


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_what_the_backup_unit_calls_makes_a_whole_copy_and_deletes_old_ones(tmp_path: Path) -> None:
    state, copies = tmp_path / "lib" / "day" / "state", tmp_path / "backups" / "day"
    state.mkdir(parents=True)
    copies.mkdir(parents=True)
    journal = SqliteJournal(JournalSettings(file="journal.sqlite"), make_services(base=str(state)))
    journal.append([Alerted(1_704_067_200_000_000_000, "hello", "the first record")])
    old = copies / "journal-20200101T000000Z.sqlite"
    old.write_bytes(b"old")
    os.utime(old, (1_577_836_800, 1_577_836_800))

    for key, value in settings("herald-backup@.service"):
        if key == "ExecStart":
            line = value.replace("%i", "day").replace("%%", "%").replace("/var/lib/herald", str(tmp_path / "lib"))
            line = line.replace("/var/backups/herald", str(tmp_path / "backups"))
            line = line.replace("/opt/herald/bin/herald", f"{sys.executable} -m herald")
            subprocess.run(shlex.split(line), check=True, capture_output=True)
    journal.close()

    (made,) = copies.iterdir()
    assert re.fullmatch(r"journal-\d{8}T\d{6}Z\.sqlite", made.name)
    assert (1, ()) == (verify(made).count, verify(made).problems)


# --- Windows and the page -------------------------------------------------------------------------


def test_the_windows_script_calls_what_exists_and_knows_the_codes_of_the_watchdog() -> None:
    text = (ROOT / "deploy" / "windows" / "install-service.ps1").read_text(encoding="utf-8")
    words = re.search(r"\$words = @\((.*?)\)", text)
    verbs = re.search(r"ValidateSet\((.*?)\)\] \[string\] \$Verb", text)
    codes = re.search(r"foreach \(\$code in ([\d, ]+)\)", text)
    assert words and verbs and codes  # noqa: PT018

    check_command([one.strip('" ') for one in words[1].split(",")])
    for verb in re.findall(r'"(\w+)"', verbs[1]):
        check_command([verb])
    assert {0, 1, 2, 3, 4, 130} == {int(one) for one in codes[1].split(",")}
    assert text.isascii()  # PowerShell 5 reads a file without a mark in the code page of the machine
    for opening, closing in ("()", "{}", "[]"):
        assert text.count(opening) == text.count(closing)
    milliseconds = re.search(r"AppStopMethodConsole (\d+)", text)
    assert milliseconds is not None
    assert int(milliseconds[1]) > 30_000


def test_the_page_names_verbs_files_and_services_that_exist() -> None:
    page = (ROOT / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
    lines = [
        line.split("#")[0].split(" && ")[-1]
        for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    ]
    commands = [line for line in lines if re.search(r"\bherald (?=[a-z])", line) and not line.startswith(("herald:", "ssh"))]
    verbs, called = herald.list_commands(click.Context(herald)), 0
    for line in commands:
        words = shlex.split(line.split(" > ")[0])
        at = max(n for n, word in enumerate(words) if word.endswith("herald"))
        if words[at + 1 :] and words[at + 1] in verbs:
            check_command(words[at + 1 :])
            called += 1
    paths = set(re.findall(r"\b(?:deploy|monitoring|requirements)[/\\\\][\w./\\\\-]*\w", page))
    services = set(re.findall(r"docker compose (?:exec|stop|logs)(?: -T| --follow)* (\w+)", page))

    assert called >= 15
    assert {one for one in paths if not (ROOT / one.replace("\\", "/")).exists()} == set()
    assert services <= set(COMPOSE["services"])


# --- the entry point ------------------------------------------------------------------------------

INSIDE = """
import os, subprocess, sys, time
command, health = sys.argv[1].split("\\n"), sys.argv[2]
process = subprocess.Popen(command)
deadline = time.monotonic() + 30
code = 1
while code and process.poll() is None and time.monotonic() < deadline:
    time.sleep(0.1)
    code = subprocess.run([sys.executable, "-c", health], stderr=subprocess.DEVNULL).returncode
print("health", code, "user", os.getuid())
for path in ("/etc/herald/herald.toml", "/usr/written", "/written"):
    try:
        open(path, "a").close()
        print("written", path)
    except OSError:
        pass
process.terminate()
print("ended", process.wait(30))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is Linux's")
@pytest.mark.skipif(shutil.which("bwrap") is None and not os.environ.get("CI"), reason="bubblewrap is not installed")
def test_the_entry_point_runs_as_another_user_and_writes_only_its_data(tmp_path: Path) -> None:
    environment = dict(re.findall(r'(HOME|HERALD_LIVE__STATE|PYTHON\w+)=([^\s"]+)', DOCKERFILE))
    user, group = next(rest.split(":") for word, rest in instructions(DOCKERFILE) if word == "USER")
    folder = next(rest for word, rest in instructions(DOCKERFILE)[::-1] if word == "WORKDIR")
    program = str(Path(sys.executable).parent)
    package = str(Path(str(sys.modules["herald"].__file__)).parents[1])  # the code under test, wherever it is installed
    read = [one for one in dict.fromkeys([sys.prefix, sys.base_prefix, package, str(ROOT)]) if not fnmatch(one, "/usr*")]
    sandbox = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv", "--uid", user, "--gid", group]
    sandbox += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for name in ("bin", "lib", "lib64"):
        sandbox += ["--symlink", f"usr/{name}", f"/{name}"]
    for path in read:
        sandbox += ["--ro-bind", path, path]
    sandbox += ["--ro-bind", str(ROOT / "deploy" / "docker"), "/etc/herald", "--bind", str(tmp_path), folder, "--remount-ro", "/"]
    for name, value in {**environment, "PATH": f"{program}:/usr/bin", "PYTHONPATH": package}.items():
        sandbox += ["--setenv", name, value]
    command = "\n".join(argument("ENTRYPOINT") + argument("CMD"))
    inside = [sys.executable, "-c", INSIDE, command, argument("HEALTHCHECK")[-1]]

    done = subprocess.run([*sandbox, "--chdir", folder, *inside], capture_output=True, text=True, timeout=90, check=False)

    assert 0 == done.returncode, done.stderr
    assert f"health 0 user {user}" in done.stdout, done.stdout + done.stderr
    assert "written" not in done.stdout
    assert "ended 130" in done.stdout, done.stdout + done.stderr  # what the unit takes for an orderly end
    assert (tmp_path / "state" / "journal.sqlite").is_file()
    assert 1 == len(list(tmp_path.glob("runs/*/manifest.json")))
