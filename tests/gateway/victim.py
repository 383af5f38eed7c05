"""A gateway with running streams, to be killed: `python -m tests.gateway.victim DIR KEY`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.gateway.house import House, chat


async def main(folder: Path, key: str) -> None:
    house = House(folder, fresh=False)
    async with house.gateway() as gateway:

        async def consume() -> None:
            async for event in gateway.infer(key, chat("one two", tokens_max=500)):
                print(type(event).__name__, flush=True)

        await asyncio.gather(*(consume() for _ in range(3)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
