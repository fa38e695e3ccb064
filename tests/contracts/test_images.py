"""Images: kept for what is taken in alone, as long as an episode holds them."""

import hashlib

from ted_memory.storage.redis.keys import Keys
from tests.contracts.queue import Queue, an_episode, on_a_server


async def test_images_are_kept_by_their_hash_and_count_as_bytes(queue: Queue) -> None:
    data = [bytes(range(256)), b"\x00", b""]
    digests = [hashlib.sha256(one).hexdigest() for one in data]
    with_image = an_episode("a", images=(digests[0],))
    size = len(with_image.model_dump_json(exclude_defaults=True).encode()) + 256
    kept = dict(zip(digests, data, strict=True))
    assert (await queue.record(with_image, images=kept, max_bytes=size)).dropped == 1
    assert await queue.log.images(queue.namespace, digests) == {}, (
        "of what is refused nothing is kept"
    )
    assert (await queue.record(an_episode("c", principal="loud"), rate_limit=1)).recorded == 1
    refused = an_episode("d", principal="loud", images=tuple(digests))
    assert (await queue.record(refused, images=kept, rate_limit=1)).limited == 1
    assert await queue.log.images(queue.namespace, digests) == {}
    assert (await queue.record(an_episode("b", images=tuple(digests)), images=kept)).recorded == 1
    assert (await queue.traffic()).bytes >= size
    asked = [digests[1], "f" * 64, digests[0], digests[2]]
    assert await queue.log.images(queue.namespace, asked) == kept
    assert await queue.log.images(queue.namespace, []) == {}
    assert await queue.log.images(f"{queue.namespace}-none", digests) == {}


@on_a_server
async def test_an_image_that_came_again_after_its_end_stays_for_who_holds_it(queue: Queue) -> None:
    data = {"5" * 64: b"of two"}
    await queue.record(an_episode("a", images=tuple(data)), images=data)
    client = queue.store._clients.get().commit  # type: ignore[attr-defined]
    await client.delete(Keys(queue.namespace).image("5" * 64))
    await queue.record(an_episode("b", images=tuple(data)), images=data)
    first, second = (await queue.claim(2)).claims
    await queue.settle(first)
    assert await queue.log.images(queue.namespace, list(data)) == data
    await queue.settle(second)
    assert await queue.log.images(queue.namespace, list(data)) == {}


async def test_an_image_goes_with_the_last_episode_that_holds_it(queue: Queue) -> None:
    shared, alone = "5" * 64, "a" * 64
    data = {shared: b"of many", alone: b"of one"}
    named = {"a": (shared,), "b": (alone, shared), "c": (shared, shared)}
    await queue.record(
        *(an_episode(run, images=images) for run, images in named.items()), images=data
    )
    await queue.record(an_episode("a", images=(shared,)), images=data)  # sent twice, taken in once

    async def kept() -> set[str]:
        return set(await queue.log.images(queue.namespace, [shared, alone]))

    first, second, third = (await queue.claim(3)).claims
    await queue.settle(first)
    assert await kept() == {shared, alone}
    await queue.return_claim(second, max_deliveries=1)
    assert await kept() == {shared, alone}, "a dead letter keeps its images"
    await queue.log.drop_dead(queue.namespace, [second.seq])
    assert await kept() == {shared}
    await queue.settle(third)
    assert await kept() == set()
    await queue.record(an_episode("d", images=(alone,)), images=data)
    assert await kept() == {alone}, "it may come again"
