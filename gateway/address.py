"""Where a server listens: who may listen there without keys, and the socket, bound before the model is loaded."""

from __future__ import annotations

import errno
import ipaddress
import socket

from espalier.gateway.auth import is_loopback
from espalier.gateway.setting import SettingError

BACKLOG = 2048


def check_keys(host: str, *, has_keys: bool) -> None:
    """Raise SettingError where others could reach a server that asks for no key."""
    if not has_keys and not is_loopback(host):
        raise SettingError(
            f"--host {host} can be reached by other machines, and no API keys are set; give --api-keys-file "
            "(make a line of it with `espalier keys TENANT`) or listen on 127.0.0.1"
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises SettingError with what to do."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise SettingError(f"--host {host}: no such address: {error.strerror}") from None
    # With its protocol named, asyncio sends each event of a stream at once (TCP_NODELAY); otherwise the kernel holds
    # the second back until the client has acknowledged the first, which takes 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingError(_refusal(host, port, error)) from None
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The address that a client on this machine uses."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refusal(host: str, port: int, error: OSError) -> str:
    remedies = {
        errno.EADDRINUSE: f"port {port} on {host} is in use; choose another with --port, or end what listens there",
        errno.EACCES: f"port {port} needs privileges; choose one above 1023 with --port",
        errno.EADDRNOTAVAIL: f"--host {host} is no address of this machine; use 127.0.0.1 or one that is",
    }
    return remedies.get(error.errno or 0, f"can't listen on {host}, port {port}: {error.strerror}")
