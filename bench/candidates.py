"""What is compared: the vendor itself, nginx before it, the gateway's wire alone, the gateway."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import children, command_line
from remit.bootstrap import Authority, open_database
from remit.grants.keys import NewKey
from remit.grants.manifest import Manifest, parse_manifest
from remit.grants.model import Actor
from remit.grants.plan import make_plan
from remit.grants.service import Authorship, NotWritten
from remit.grants.tree import Tree
from remit.settings import load_settings

READY_SECONDS = 60
LEVELS = ("bench", "division", "team", "feature", "service")
_ADMIN = Actor("bench@acme.example", is_admin=True)
_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  upstream vendor {{ server {vendor}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://vendor;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


class StartError(Exception):
    """A candidate did not start; the message says why."""


@dataclass(slots=True)
class Candidate:
    """Something that answers chat completions. `processes` are pids by the name under which their time is reported."""

    name: str
    url: str
    key: str = "unused"
    processes: dict[str, list[int]] = field(default_factory=dict)
    streams: bool = True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def start_nginx(stack: ExitStack, folder: Path, vendor_url: str) -> Candidate | None:
    """A plain proxy in front of the vendor, or None where nginx is not installed."""
    path = shutil.which("nginx")
    if path is None:
        return None
    folder.mkdir()
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, vendor=vendor_url.removeprefix("http://"), port=port))
    process = subprocess.Popen(
        [path, "-p", str(folder), "-c", str(config)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(_end, process)
    _wait_for_port(port, process)
    return Candidate("nginx", f"http://127.0.0.1:{port}/v1", processes={"nginx": [process.pid, *children(process.pid)]})


def start_wire(stack: ExitStack) -> Candidate:
    """The gateway's HTTP server without a gateway behind it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.wire_only"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    stack.callback(_end, process)
    assert process.stdout is not None
    port = int(process.stdout.readline() or "0")
    if not port:
        raise StartError("the wire alone did not start")
    return Candidate("wire only", f"http://127.0.0.1:{port}/v1", processes={"wire": [process.pid]}, streams=False)


def start_gateway(stack: ExitStack, folder: Path, vendor_url: str, workers: int = 1) -> Candidate:
    """`remit up` with one gateway process, or more, over an embedded PostgreSQL, and a key at the end of five grants."""
    folder.mkdir()
    port = free_port()
    config = folder / "remit.toml"
    config.write_text(
        f'data_dir = "{folder / "data"}"\n[api]\nlisten = "127.0.0.1:{free_port()}"\n'
        f'[gateway]\nlisten = "127.0.0.1:{port}"\nworkers = {workers}\n[vendors.openai]\nbase_url = "{vendor_url}"\n'
        # What is measured says the same over and over.
        "[breaker]\nchain_calls_per_minute = 0\ncalls_per_minute = 0\nrepetitions = 0\nspend_factor = 0\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
    settings = load_settings(config, environment=environment)
    url = open_database(settings)
    authority = Authority(settings, url)
    _apply(authority)
    made = authority.keys().create("/".join(LEVELS), "bench", _ADMIN)
    if not isinstance(made, NewKey):
        raise StartError(made.detail)
    log = stack.enter_context((folder / "remit.log").open("wb"))
    process = subprocess.Popen(
        [sys.executable, "-m", "remit", "up", "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
    )
    stack.callback(_end, process)
    try:
        _wait_for_port(port, process)
    except StartError:
        raise StartError((folder / "remit.log").read_text(errors="replace")[-2000:]) from None
    postmaster = int((folder / "data" / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    workers = [pid for pid in children(process.pid) if "gateway_process" in command_line(pid)]
    return Candidate(
        "gateway",
        f"http://127.0.0.1:{port}/v1",
        key=made.text,
        processes={"gateway": workers, "authority": [process.pid], "postgresql": [postmaster, *children(postmaster)]},
    )


def refresh(candidate: Candidate) -> None:
    """Finds backends that were opened after the start."""
    if "postgresql" in candidate.processes:
        postmaster = candidate.processes["postgresql"][0]
        candidate.processes["postgresql"] = [postmaster, *children(postmaster)]


def _apply(authority: Authority) -> None:
    """Five grants one below the other, each with a limit per month that is never reached."""
    node: dict[str, Any] = {}
    for level, _ in reversed(list(enumerate(LEVELS))):
        inner, node = node, {"owner": "bench@acme.example", "limits": [{"usd": 1_000_000 - level, "per": "month"}]}
        if level + 1 < len(LEVELS):
            node["children"] = {LEVELS[level + 1]: inner}
    node |= {"class": "production", "expires": "2099-01-01"}
    manifest = parse_manifest({"version": 1, "grants": {LEVELS[0]: node}})
    if not isinstance(manifest, Manifest):
        raise StartError(str(manifest))
    with authority.repository.read() as reads:
        plan = make_plan(manifest, Tree(reads.load_tree()), authority.clock.now())
    answer = authority.grants.apply(plan, Authorship(actor=_ADMIN, reason="bench", idempotency_key="bench"))
    if isinstance(answer, NotWritten):
        raise StartError("; ".join(problem.detail for problem in answer.problems))


def _wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise StartError(f"nothing listens on port {port}")


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
