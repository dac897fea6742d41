"""The end of the content, and how much of it is kept."""

from __future__ import annotations

import asyncio

import pytest

from gateway import errors
from smtp import data

SMUGGLED = (
    *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n"),
    *(
        b"\r\n. \r\n",
        b"\r\n..\r\n",
        b"\r\r\n.\r\r\n",
        b"\n\n.\n\n",
        b"\n\r.\n\r",
        b"\r\n\t.\r\n",
        b"\x0b.\x0b",
        b"\x85.\x85",
    ),
)


def read(sent: bytes, limit: int = 1000, keep: int | None = None, step: int = 0) -> tuple[bytes, bytes]:
    """The content, and what is left for the next command; sent at once or in pieces of `step` bytes."""

    async def work() -> tuple[bytes, bytes]:
        reader = asyncio.StreamReader()

        async def feed() -> None:
            for at in range(0, len(sent), step or len(sent)):
                reader.feed_data(sent[at : at + (step or len(sent))])
                await asyncio.sleep(0)
            await asyncio.sleep(0)

        feeding = asyncio.create_task(feed())
        content = await data.read(reader, limit, lambda: None, keep)
        await feeding
        reader.feed_eof()
        return content, await reader.read()

    return asyncio.run(asyncio.wait_for(work(), 5))


@pytest.mark.parametrize("end", SMUGGLED)
@pytest.mark.parametrize("step", [0, 1])
def test_only_one_end_of_data(end: bytes, step: int) -> None:
    inner = b"a" + end + b"MAIL FROM:<b@b.test>\r\n"
    content, left = read(inner + b".\r\nNOOP\r\n", step=step)
    assert (content, left) == (inner, b"NOOP\r\n")
    try:
        tidied = data.tidy(content)
    except errors.Invalid:
        return
    # As it leaves us: every line that begins with a dot has another before it.
    assert b"\r\n.\r\n" not in tidied.replace(b"\r\n.", b"\r\n..")
    assert b"\n.\n" not in tidied


@pytest.mark.parametrize("step", [0, 1, 7])
def test_what_is_not_looked_at_is_not_kept(step: int) -> None:
    long = b"0123456789\r\n" * 20
    assert read(long + b".\r\nNOOP\r\n", keep=50, step=step) == (long[:50], b"NOOP\r\n")
    assert read(long + b".\r\n", keep=len(long), step=step) == (long, b"")
    with pytest.raises(errors.TooLarge):
        read(long * 5 + b".\r\n", keep=50, step=step)
