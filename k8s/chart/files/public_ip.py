"""Asks Kubernetes for the external address of this pod's node, and writes it to the file that is named."""

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path
from typing import Any

API = os.environ.get("KUBERNETES_API", "https://kubernetes.default.svc")
ACCOUNT = Path("/run/secrets/kubernetes")


def external_address(node: Any) -> str:
    """Return the first external address of a Node. Raises `SystemExit` when it has none."""
    addresses = node["status"]["addresses"]
    for address in addresses:
        if address["type"] == "ExternalIP":
            return str(address["address"])
    kinds = ", ".join(sorted({address["type"] for address in addresses}))
    raise SystemExit(f"the node has no ExternalIP (only {kinds}): set sfu.publicIp.source to hostIP or value")


def main(target: str) -> None:
    """Write the address of the node NODE_NAME to `target`."""
    context = ssl.create_default_context(cafile=ACCOUNT / "ca.crt") if API.startswith("https:") else None
    token = (ACCOUNT / "token").read_text() if ACCOUNT.exists() else ""
    url = f"{API}/api/v1/nodes/{os.environ['NODE_NAME']}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
        Path(target).write_text(external_address(json.load(answer)))


main(sys.argv[1])
