"""What redis-py raises, as errors of ours that say what happened and what to do."""

import contextlib
from collections.abc import Iterator

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from ted_memory.errors import (
    ClaimLost,
    CorruptData,
    InvalidInput,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TedMemoryError,
    reason_of,
)
from ted_memory.storage.redis import replies, scripts

ASK_FOR_RIGHTS = "Give the user the rights of its role: `ted-memory acl` prints them"
# Redis 7.2, Valkey; Redis 7.0
_REFUSED_IN_SCRIPT = ("ACL failure in script", "The user executing the script")


@contextlib.contextmanager
def in_our_words(where: str) -> Iterator[None]:
    """Turn what redis-py raises into a StoreError; ``where`` is the server, as messages call it."""
    try:
        yield
    except (AuthenticationError, AuthorizationError) as error:
        raise StoreRefused(
            f"the server at {where} refuses us ({error}); nothing was written. "
            "Check user and password in the URL"
        ) from error
    except NoPermissionError as error:
        raise StoreRefused(
            f"the server at {where} refuses us ({error}); nothing was written. {ASK_FOR_RIGHTS}"
        ) from error
    except OutOfMemoryError as error:
        raise StoreError(
            f"the server at {where} is out of memory (its maxmemory is reached); nothing was "
            "written. Raise maxmemory, or give the memory a server of its own"
        ) from error
    except TedMemoryError:
        raise
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"character {error.start} is half of one (a lone surrogate); nothing was sent"
        ) from None
    except (scripts.NotOurs, ValueError) as error:  # redis-py's parser, on what is no reply
        raise CorruptData(
            f"what answers at {where} does not speak as Redis does ({_reason(error)}). "
            "Is it a Redis server?"
        ) from error
    except ResponseError as error:
        raise _answered(error, where) from error
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailable(
            f"no answer from the memory at {where} ({_reason(error)}). Is the server running and "
            "the URL right? What was being written may be sent again: with its token it counts once"
        ) from error


def _answered(error: ResponseError, where: str) -> StoreError:
    """Tell what an error stands for that the server answered a command with."""
    said = str(error)
    if said.startswith("TEDFORMAT"):
        return replies.newer_format(where, said.rsplit(maxsplit=1)[-1])
    if said.startswith("TEDFENCED"):
        return ClaimLost("another learner has taken over this episode; nothing was written")
    if any(words in said for words in _REFUSED_IN_SCRIPT):
        return StoreRefused(
            f"the server at {where} refuses us within a script ({_reason(error)}); "
            f"a part of it may be done. {ASK_FOR_RIGHTS}"
        )
    return StoreError(f"the server at {where} answered: {error}; nothing was written")


def _reason(error: BaseException) -> str:
    """Tell what an error says, for within brackets."""
    return reason_of(error).rstrip(".")
