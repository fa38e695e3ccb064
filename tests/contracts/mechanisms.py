"""The mechanisms of the episode log's scripts, each with a test that must fail without it."""

from tests.contracts import test_ageing as ageing
from tests.contracts import test_claims_and_settlement as ends
from tests.contracts import test_dead_letters as dead
from tests.contracts import test_episode_log as begins
from tests.contracts import test_erasing as erasing
from tests.contracts import test_images as images
from tests.contracts import test_outcomes as outcomes
from tests.contracts import test_queue_order as order
from tests.contracts.switches import Off

LATE = ends.test_who_comes_too_late_writes_nothing

OFF: Off = {
    # record
    "once for its run": (
        "_RECORD",
        "redis.call('HEXISTS', run, 'seq') == 1",
        "false",
        begins.test_a_run_is_taken_in_once_however_often_it_is_sent,
    ),
    "the counter of what was dropped": (
        "_RECORD",
        "redis.call('HINCRBY', at.traffic, outcome, 1)",
        "",
        begins.test_what_comes_beyond_the_cap_on_episodes_is_dropped_and_counted,
    ),
    "the cap on episodes": (
        "_RECORD",
        "waiting >= request.max_episodes or",
        "",
        begins.test_what_comes_beyond_the_cap_on_episodes_is_dropped_and_counted,
    ),
    "the cap on bytes": (
        "_RECORD",
        "or bytes + size > request.max_bytes",
        "",
        begins.test_the_cap_on_bytes_holds_to_the_byte,
    ),
    "the share of a principal": (
        "_RECORD",
        "'e:' .. item.principal, 1) > request.rate_limit",
        "'e:', 1) > 1e9",
        begins.test_a_principal_has_a_daily_share_of_episodes,
    ),
    "due when feedback came first": (
        "_RECORD",
        "told and now - TOLD_FIRST or now + request.wait",
        "now + request.wait",
        begins.test_feedback_that_came_first_is_told_once_and_makes_its_episode_due,
    ),
    "the order within a batch": (
        "_RECORD",
        "due - (#request.items - i) / 1024",
        "due",
        begins.test_the_oldest_come_first_and_as_many_as_asked_for,
    ),
    "images of what is taken in alone": (
        "_RECORD",
        "    if outcome == 'recorded' then\n",
        "    keep_images(item, 0)\n    if outcome == 'recorded' then\n",
        images.test_images_are_kept_by_their_hash_and_count_as_bytes,
    ),
    "how many episodes hold an image": (
        "_RECORD",
        "redis.call('HSET', image, seq, '')",
        "",
        images.test_an_image_goes_with_the_last_episode_that_holds_it,
    ),
    "images that go": (
        "_COMMIT",
        "-size_of(at, seq))\n  let_go_of_images(at, seq)",
        "-size_of(at, seq))",
        images.test_an_image_goes_with_the_last_episode_that_holds_it,
    ),
    "the wait": (
        "_RECORD",
        "now + request.wait",
        "now",
        begins.test_an_episode_that_waits_for_feedback_cannot_be_begun_before,
    ),
    # claim
    "one learner for each": (
        "_CLAIM",
        "redis.call('ZREM', at.waiting, seq)\n    redis.call('ZADD'",
        "redis.call('ZADD'",
        begins.test_the_oldest_come_first_and_as_many_as_asked_for,
    ),
    "suspects are begun alone": (
        "_CLAIM",
        "alone and at.claimed or at.waiting",
        "at.claimed",
        begins.test_what_ended_without_an_answer_is_begun_only_by_one_that_takes_it_alone,
    ),
    "the last delivery": (
        "_CLAIM",
        "alone and deliveries >= max_deliveries",
        "false",
        begins.test_what_ended_each_learner_that_began_it_becomes_a_dead_letter,
    ),
    "a fence that grows": (
        "_CLAIM",
        "or 0) + 1, now)",
        "or 0), 1)",
        begins.test_a_fence_is_higher_than_all_before_it,
    ),
    "a fence by the clock": (
        "_CLAIM",
        "or 0) + 1, now)",
        "or 0) + 1, 0)",
        ends.test_who_held_a_claim_when_its_namespace_was_dropped_settles_nothing_of_the_new_one,
    ),
    # beat and hand back
    "the fence of a heartbeat": (
        "_EXTEND_LEASE",
        "holder(at, ARGV[i]) == tonumber(ARGV[i + 1])",
        "true",
        ends.test_a_heartbeat_tells_what_was_lost_and_takes_nothing_back,
    ),
    "the key of all learners": (
        "_EXTEND_LEASE",
        "redis.call('PEXPIRE', learners, last - now)",
        "redis.call('PEXPIRE', learners, lease)",
        ends.test_a_learner_counts_for_one_lease_after_it_was_last_heard_of,
    ),
    "the fence of what is handed back": (
        "_RETURN_CLAIM",
        "if fence ~= tonumber(ARGV[2]) then return 'fenced' end",
        "",
        ends.test_who_comes_too_late_hands_nothing_back,
    ),
    "a release does not count": (
        "_RETURN_CLAIM",
        "if how == 'release' then deliveries = deliveries - 1 end",
        "",
        ends.test_what_is_released_does_not_count_as_begun,
    ),
    "a delay": (
        "_RETURN_CLAIM",
        "now_ms() + tonumber(ARGV[5])",
        "now_ms()",
        lambda queue: ends.test_what_is_handed_back_can_be_left_alone_for_a_while(queue, True),
    ),
    # settle
    "the fence of a settlement": (
        "_COMMIT",
        "if settle and holder(at, settle.seq) ~= settle.fence then return "
        "redis.error_reply('TEDFENCED') end",
        "",
        LATE,
        "by another",
    ),
    "an episode leaves": (
        "_COMMIT",
        "take_out(at, settle.seq)",
        "",
        ends.test_an_episode_leaves_with_the_lessons_that_it_taught,
    ),
    "credit without a version": (
        "_COMMIT",
        "if settle and not undone then carry(",
        "if false then carry(",
        ends.test_an_episode_that_taught_nothing_makes_no_version_and_credits_all_the_same,
        "nothing",
    ),
    "all or nothing": (
        "_COMMIT",
        "if settle and not undone then\n",
        "if settle then\n",
        ends.test_all_or_nothing_settles_nothing_where_an_edit_is_refused,
    ),
    "a token before a fence": (
        "_COMMIT",
        "if before then",
        "if before and not request.settle then",
        ends.test_a_settlement_that_is_sent_again_answers_as_it_did,
    ),
    "bytes that are given back": (
        "_COMMIT",
        "redis.call('HINCRBY', at.traffic, 'bytes', -size_of(at, seq))",
        "",
        begins.test_nothing_is_left_of_the_bytes_when_nothing_is_left_of_the_episodes,
    ),
    # dead letters' bounds
    "dead letters take no place": (
        "_RECORD",
        "redis.call('HLEN', at.episodes) - tonumber(stored[3] or 0)",
        "redis.call('HLEN', at.episodes)",
        dead.test_a_queue_full_of_dead_letters_goes_on_taking_in,
    ),
    "dead letters take no bytes": (
        "_RECORD",
        "- tonumber(stored[2] or 0)",
        "",
        dead.test_a_queue_full_of_dead_letters_goes_on_taking_in,
    ),
    "what is put back takes its place again": (
        "_DEAD",
        "redis.call('HINCRBY', at.traffic, 'dead_now', -1)",
        "",
        dead.test_one_that_is_put_back_takes_its_place_again,
    ),
    "the bound on dead letters": (
        "_RETURN_CLAIM",
        "  let_go_of_dead(at, most, kept)\nend",
        "end",
        dead.test_the_oldest_dead_letters_make_room_for_later_ones,
    ),
    "the look at old dead letters": (
        "_CLAIM",
        "  let_go_of_dead(at, max_dead, dead_kept)\n",
        "",
        dead.test_where_nothing_fails_any_more_they_age_too,
    ),
    "waiting episodes age": (
        "_CLAIM",
        "  let_go_of_late(at, tonumber(ARGV[8]))\n",
        "",
        ageing.test_an_episode_waits_for_days_and_no_longer,
    ),
    "the archive ages": (
        "_CLAIM",
        "local last = last_before(at, tonumber(ARGV[9]))",
        "local last = 0",
        ageing.test_the_archive_ages_by_the_day_of_the_recording,
    ),
    "a quiet time ages all": (
        "_CLAIM",
        "  return tonumber(redis.call('HGET', at.traffic, 'seq') or 0)\nend\n\nlocal function "
        "holder",
        "  return 0\nend\n\nlocal function holder",
        ageing.test_when_nothing_came_since_all_is_old,
    ),
    "what an older package took in is not old at once": (
        "_RECORD",
        "local last = latest and tonumber(redis.call('HGET', at.traffic, 'seq') or 0) or 0",
        "local last = tonumber(redis.call('HGET', at.traffic, 'seq') or 0)",
        ageing.test_what_an_older_package_took_in_counts_as_of_the_first_day_that_is_known,
    ),
    "what a refused run leaves goes soon": (
        "_RECORD",
        "outcome == 'limited' and request.early_ttl or request.ttl",
        "request.ttl",
        dead.test_what_a_run_leaves_that_was_refused_or_never_came_goes_soon,
    ),
    "feedback on a run that never comes goes soon": (
        "_FEEDBACK",
        "redis.call('HEXISTS', run, 'seq') == 1 and ttl or early_ttl",
        "ttl",
        dead.test_what_a_run_leaves_that_was_refused_or_never_came_goes_soon,
    ),
    # forgetting
    "a forgotten episode is nobody's": (
        "_ERASE",
        "  take_out(at, seq)\nend",
        "end",
        erasing.test_who_holds_a_forgotten_episode_comes_too_late,
    ),
    "a forgotten dead letter": (
        "_ERASE",
        "if at.dead then raise(at, seq) end",
        "",
        erasing.test_dead_letters_images_and_bytes_go_and_the_last_error_with_them,
    ),
    "the last error of what is forgotten": (
        "_ERASE",
        "redis.call('HDEL', at.traffic, 'last_error')",
        "",
        erasing.test_dead_letters_images_and_bytes_go_and_the_last_error_with_them,
    ),
    # dead letters
    "only the dead are put back": (
        "_DEAD",
        "raise(at, ARGV[i])",
        "true",
        ends.test_a_dead_letter_that_is_dropped_is_gone,
    ),
    # feedback
    "what wakes an episode": (
        "_FEEDBACK",
        "redis.call('ZADD', waiting, 'LT', now_ms() - TOLD_FIRST, seq)",
        "",
        begins.test_whatever_is_said_of_a_run_wakes_its_episode_and_no_other,
        {"score": 0.0},
    ),
    "the place of what is due": (
        "_FEEDBACK",
        "'LT', now_ms()",
        "now_ms()",
        order.test_what_somebody_spoke_about_is_begun_first_and_in_that_order,
    ),
    "the place of what is given back": (
        "_RETURN_CLAIM",
        "redis.call('HEXISTS', KEYS[7], 'told') == 1",
        "false",
        order.test_what_somebody_spoke_about_keeps_its_place_when_it_is_given_back,
        "held",
    ),
    "the place of a dead letter that is taken up": (
        "_DEAD",
        "now_ms() - TOLD_FIRST, ARGV[i]",
        "now_ms(), ARGV[i]",
        order.test_a_dead_letter_that_a_person_takes_up_again_goes_first,
    ),
    "first what somebody spoke about": (
        "_FEEDBACK",
        "now_ms() - TOLD_FIRST",
        "now_ms()",
        order.test_what_somebody_spoke_about_is_begun_first_and_in_that_order,
    ),
    "first what somebody spoke about before it came": (
        "_RECORD",
        "now - TOLD_FIRST",
        "now",
        order.test_what_somebody_spoke_about_is_begun_first_and_in_that_order,
    ),
    "the latest twenty": (
        "_FEEDBACK",
        "% 20",
        "% 19",
        begins.test_of_any_number_of_words_on_a_run_the_latest_twenty_are_kept_in_order,
        20,
    ),
    "a word that is sent once more": (
        "_FEEDBACK",
        "feedback ~= '' and redis.call('HGET', run, slot(told)) ~= feedback",
        "feedback ~= ''",
        outcomes.test_what_is_sent_once_more_since_its_reply_was_lost_stands_and_counts_once,
        True,
    ),
    "the share of feedback": (
        "_FEEDBACK",
        "if said > rate_limit then return 'limited' end",
        "",
        outcomes.test_a_principal_has_a_daily_share_of_feedback,
    ),
    "a run counts once": (
        "_FEEDBACK",
        "counters[n] = before and 0 or 1",
        "counters[n] = 1",
        outcomes.test_a_run_counts_once_and_a_later_score_takes_the_place_of_the_earlier,
    ),
    "the same is not counted twice": (
        "_FEEDBACK",
        "counters[successes] = score - (before or 0)",
        "counters[successes] = score",
        outcomes.test_a_run_counts_once_and_a_later_score_takes_the_place_of_the_earlier,
    ),
    "only what is shown counts": (
        "_FEEDBACK",
        "open and (state == 'trial' or state == 'active')",
        "open",
        outcomes.test_nothing_counts_for_a_lesson_that_no_request_is_shown,
    ),
    "a grade gives way": (
        "_FEEDBACK",
        "(first or before == score)",
        "before == score",
        outcomes.test_a_score_that_counts_only_where_there_is_none_never_takes_anothers_place,
    ),
    "only what is active fades": (
        "_FEEDBACK",
        "(state == 'active' and not before) and fading or plain",
        "not before and fading or plain",
        outcomes.test_only_of_active_lessons_the_older_outcomes_fade,
    ),
    "a correction fades nothing": (
        "_FEEDBACK",
        "(state == 'active' and not before)",
        "(state == 'active')",
        outcomes.test_a_correction_fades_nothing,
    ),
    "what is carried into the ranking": (
        "_FEEDBACK",
        "carry(uncommitted, add_usage(experiences, usage, fading, kept))",
        "add_usage(experiences, usage, fading, kept)",
        outcomes.test_an_outcome_makes_no_version_and_the_next_one_carries_it_into_the_ranking,
    ),
}
