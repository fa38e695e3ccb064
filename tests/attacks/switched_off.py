"""Mechanisms whose absence the machine must find: what is taken out, and what replaces it."""

import random
from collections.abc import Callable
from typing import Any

Lines = dict[str, tuple[str, str, str]]
"""Mechanism -> script, its line, what stands there instead."""
Functions = dict[str, tuple[str, Callable[..., Any]]]
"""Mechanism -> where the function is, what is called instead."""

OFTEN: Lines = {
    "the end of a run's record": (
        "_RECORD",
        "redis.call('PEXPIRE', run, outcome == 'limited' and request.early_ttl or request.ttl)",
        "",
    ),
    "the bounds of the archive": (
        "_COMMIT",
        (
            "while bytes > settle.max_archive_bytes "
            "or redis.call('ZCARD', archived) > settle.max_archived do"
        ),
        "while false do",
    ),
    "the cap on episodes": ("_RECORD", "waiting >= request.max_episodes or", ""),
    "a purged source in the archive": ("_COMMIT", "and not is_purged(settle)", ""),
}
"""What a few examples find."""

SELDOM: Lines = {
    "a purged source of a lesson": ("_COMMIT", "if is_purged(put) then return 'purged' end", ""),
    "once for its run": ("_RECORD", "redis.call('HEXISTS', run, 'seq') == 1", "false"),
    "an outcome's own stratum": (
        "_FEEDBACK",
        "before and known and known.rev == rev or",
        "before or",
    ),
    "an outcome that is late": ("_FEEDBACK", "(version == 0 or tonumber(rev) <= version)", "true"),
    "the old factor of a correction": (
        "_FEEDBACK",
        (
            "if before then old_live, old_harms = "
            "live_steps(before, shown, COIN, guess, trial.bet, refuted) end"
        ),
        "",
    ),
    "one outcome of a conversation": (
        "_FEEDBACK",
        "not known and unit and is_listed(evidence, id .. ' units', unit)",
        "false",
    ),
    "an outcome of its own voice": ("_FEEDBACK", "is_named and speaker or of_run[1]", "of_run[1]"),
    "a run counts once": ("_FEEDBACK", "counters[n] = before and 0 or 1", "counters[n] = 1"),
    "the share of feedback": ("_FEEDBACK", "if said > rate_limit then return 'limited' end", ""),
    "the cap on bytes": ("_RECORD", "or bytes + size > request.max_bytes", ""),
    "the share of a principal": (
        "_RECORD",
        "'e:' .. item.principal, 1) > request.rate_limit",
        "'e:' .. item.principal, 1) > 1e9",
    ),
    "images that go": (
        "_COMMIT",
        "-size_of(at, seq))\n  let_go_of_images(at, seq)",
        "-size_of(at, seq))",
    ),
    "the fence of a settlement": (
        "_COMMIT",
        (
            "if settle and holder(at, settle.seq) ~= settle.fence "
            "then return redis.error_reply('TEDFENCED') end"
        ),
        "",
    ),
    "tried again": ("_COMMIT", "if put.state == 'trial' then try_again(evidence, put.id) end", ""),
    "the bound of the history": ("_COMMIT", "    redis.call('HDEL', log, old)\n", ""),
    "the last error of the forgotten": (
        "_ERASE",
        "redis.call('HDEL', at.traffic, 'last_error')",
        "",
    ),
    "the last delivery": ("_CLAIM", "alone and deliveries >= max_deliveries", "false"),
    "the bound on dead letters": ("_RETURN_CLAIM", "  let_go_of_dead(at, most, kept)\nend", "end"),
    "a pair counts once": (
        "_REPLAYED",
        "if is_done(evidence, id, seq) then return 'repeated' end",
        "",
    ),
    "a say in one's own runs alone": ("_FEEDBACK", "speaker ~= owner and not reviewer", "false"),
    "forgotten episodes": ("_ERASE", "  take_out(at, seq)\nend", "end"),
}
"""What takes a long run."""

FUNCTIONS: Functions = {
    "the loudest are left out": ("ted_memory.experience.trials.loudest", lambda settings: 0),
    "no trial on whom a lesson comes from": (
        "ted_memory.experience.assignment.is_from",
        lambda *_: False,
    ),
    "replays before users": ("ted_memory.experience.evidence.Evidence.helps", lambda *_: 99.0),
    "what a log keeps of the forgotten": (
        "ted_memory.experience.lineage.blank",
        lambda experience, _: experience,
    ),
    "records of runs that are forgotten": (
        "ted_memory.episodes.Subject.owns_record",
        lambda *_: False,
    ),
    "evidence on another text": (
        "ted_memory.testing.oracle.evidence.InMemoryEvidence.forget",
        lambda *_: None,
    ),
}
"""In a process's own memory, found soon."""

FUNCTIONS_SELDOM: Functions = {
    "a coin for each conversation": (
        "ted_memory.experience.assignment.draw",
        lambda *_: random.random(),
    ),
}
"""The same, in a long run."""
