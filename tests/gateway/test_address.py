"""Addresses: keys where others could listen, sockets bound at once, URLs that a client can use."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from espalier.gateway.address import check_keys, listen, url_of
from espalier.gateway.setting import SettingError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_loopback_needs_no_keys(host: str) -> None:
    check_keys(host, has_keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example"])
def test_anything_else_needs_keys(host: str) -> None:
    check_keys(host, has_keys=True)
    with pytest.raises(SettingError, match="espalier keys TENANT"):
        check_keys(host, has_keys=False)


def test_a_free_port_is_taken_and_told() -> None:
    with closing(listen("127.0.0.1", 0)) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        with socket.create_connection(listener.getsockname()):
            pass


def test_a_server_on_every_address_is_reached_on_loopback() -> None:
    with closing(listen("0.0.0.0", 0)) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingError, match="no such address"):
        listen("no host has this name", 0)


@pytest.mark.anyio
async def test_events_of_a_stream_are_not_held_back_by_the_kernel() -> None:
    met: asyncio.Queue[int] = asyncio.Queue()

    def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.put_nowait(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listen("127.0.0.1", 0)
    async with await asyncio.start_server(meet, sock=listener):
        with socket.create_connection(listener.getsockname()):
            assert await met.get()
