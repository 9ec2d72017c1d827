"""The wheel is whole: installed into an empty environment, away from this checkout, it serves."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers

ROOT = Path(__file__).resolve().parent.parent
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp")}  # noqa: S108


def _run(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=BARE | _pip_settings(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _pip_settings() -> dict[str, str]:
    """Where pip finds packages is the machine's business, whatever it is."""
    names = ("PIP_", "SSL_", "REQUESTS_", "HTTP", "http")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


@pytest.mark.rehearsal
def test_the_wheel_serves_from_an_empty_environment(tmp_path: Path) -> None:
    _run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT), cwd=tmp_path
    )
    (wheel,) = tmp_path.glob("*.whl")
    _run(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=tmp_path)
    _run(str(tmp_path / "venv/bin/python"), "-m", "pip", "install", "-q", str(wheel), cwd=tmp_path)

    port = free_port()
    process = Process(
        [str(tmp_path / "venv/bin/sfu-gateway"), "serve"],
        log=tmp_path / "serve.log",
        cwd=tmp_path,
        env={"SFU_GATEWAY_KEY": "Z2F0ZXdheSBrZXk=", "SFU_GATEWAY_PORT": str(port), "SFU_GATEWAY_BIND": HOST},
        ready=answers(f"http://{HOST}:{port}/readyz"),
        ready_seconds=20,
    )
    with process:
        health = httpx.get(f"http://{HOST}:{port}/v1/health", trust_env=False)
        runbook = httpx.get(f"http://{HOST}:{port}/dashboard/runbooks/mass_expiry", trust_env=False)
    assert runbook.text.startswith("## mass_expiry\n")
    assert health.json() == {"status": "down", "mode": "registry", "selectable": 0, "sfus": []}
