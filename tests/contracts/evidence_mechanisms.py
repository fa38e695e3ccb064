"""The mechanisms of evidence and archive in scripts, each with a test that fails without it."""

from tests.contracts import test_archive as kept
from tests.contracts import test_evidence as shown
from tests.contracts import test_evidence_on_a_server as there
from tests.contracts import test_who_speaks as who
from tests.contracts.switches import CLIENT, URL, Off

OFF: Off = {
    # pairs
    "a pair counts once": (
        "_REPLAYED",
        "if is_done(evidence, id, seq) then return 'repeated' end",
        "",
        shown.test_a_pair_counts_once_for_a_lesson_and_an_episode,
    ),
    "what recorded tool results tell": (
        "_REPLAYED",
        "elseif ARGV[8] == '1' and difference == 0 then",
        "elseif false then",
        shown.test_pairs_on_recorded_tool_results_that_were_scored_alike_say_nothing,
    ),
    "a pair counts once for two learners": (
        "_REPLAYED",
        "if is_done(evidence, id, seq) then return 'repeated' end",
        "",
        shown.test_two_learners_that_count_the_same_pair_at_once_count_it_once,
        URL,
    ),
    "a pair of its own voice": (
        "_REPLAYED",
        "each_voice_and_all(evidence, id, principal, function(sums)\n",
        "each_voice_and_all(evidence, id, 'somebody', function(sums)\n",
        shown.test_each_principal_speaks_for_himself_and_the_loudest_can_be_left_out,
    ),
    "a pair of the text that was read": (
        "_REPLAYED",
        "tonumber(rev) > since or",
        "",
        shown.test_a_pair_for_a_lesson_that_has_changed_meanwhile_does_not_count,
    ),
    "a pair of an episode that is there": (
        "_REPLAYED",
        "or redis.call('HEXISTS', archive, seq) == 0",
        "",
        kept.test_a_replay_in_flight_of_what_is_purged_does_not_count,
    ),
    "the latest of what it was replayed on": (
        "_REPLAYED",
        "list = string.sub(list, 1, at) .. string.sub(list, to + 1)",
        "list = ','",
        there.test_of_what_it_was_replayed_on_the_latest_is_known,
        URL,
    ),
    "what the list has no room for stays done": (
        "_REPLAYED",
        "redis.call('HSET', evidence, id .. ' done to', string.format('%d', oldest))",
        "",
        there.test_of_what_it_was_replayed_on_the_latest_is_known,
        URL,
    ),
    "a bound of what it was replayed on": (
        "_REPLAYED",
        "while #list > LONGEST_LIST do",
        "while false do",
        there.test_of_what_it_was_replayed_on_the_latest_is_known,
        URL,
    ),
    # live outcomes
    "an outcome of its own voice": (
        "_FEEDBACK",
        "is_named and speaker or of_run[1]",
        "of_run[1]",
        who.test_who_speaks_of_anothers_run_speaks_for_himself,
    ),
    "a say in one's own runs alone": (
        "_FEEDBACK",
        "speaker ~= owner and not reviewer",
        "false",
        who.test_a_named_principal_has_no_say_in_the_runs_of_another,
    ),
    "a reviewer's say in others' runs": (
        "_FEEDBACK",
        "and not reviewer",
        "",
        who.test_who_speaks_of_anothers_run_speaks_for_himself,
    ),
    "anonymous words": (
        "_FEEDBACK",
        "is_named = speaker ~= '' and speaker ~= anonymous",
        "is_named = speaker ~= ''",
        who.test_anonymous_words_and_grades_are_the_word_of_whoever_ran_it,
    ),
    "a correction of its own voice": (
        "_FEEDBACK",
        "and speaker or of_run[1]\n",
        "and speaker or of_run[1]\nif before then voice = of_run[1] end\n",
        who.test_a_correction_is_the_word_of_whoever_makes_it,
    ),
    "a correction takes its old factor back": (
        "_FEEDBACK",
        "if before then old_live, old_harms = live_steps(before, shown, COIN, guess, trial.bet, "
        "refuted) end",
        "",
        shown.test_a_corrected_score_takes_its_old_factor_back,
    ),
    "a correction expects what was expected": (
        "_FEEDBACK",
        "known and known.guess or guess_of",
        "guess_of",
        shown.test_a_corrected_score_takes_its_old_factor_back,
    ),
    "a late outcome": (
        "_FEEDBACK",
        "(version == 0 or tonumber(rev) <= version)",
        "true",
        shown.test_an_outcome_counts_for_what_its_run_was_assigned_under_only,
    ),
    "a late correction": (
        "_FEEDBACK",
        "before and known and known.rev == rev or",
        "before or",
        shown.test_an_outcome_counts_for_what_its_run_was_assigned_under_only,
    ),
    "the rule of a trial": (
        "_FEEDBACK",
        "RULES[trial.rule or 'strict']",
        "0",
        shown.test_the_rule_of_a_trial_says_what_its_outcomes_refute,
    ),
    "names that are apart": (
        "_FEEDBACK",
        "'(%S+) (%S+) (%S+) (%S+)\\n') do",
        "'(%w+) (%S+) (%S+) (%S+)\\n') do",
        shown.test_no_name_of_a_lesson_or_a_principal_reaches_anothers_evidence,
    ),
    # active lessons
    "begun anew": (
        "_REPLAYED",
        "if all[t] <= 0 then all[t], all[b] = 0, all[b] + 1 end",
        "",
        shown.test_an_active_lesson_is_watched_and_what_spoke_against_it_is_over_when_nothing_does,
    ),
    "what was said before it was begun anew": (
        "_REPLAYED",
        "if voice[b] ~= all[b] then voice[t], voice[b] = 0, all[b] end",
        "voice[b] = all[b]",
        shown.test_what_a_voice_said_before_a_new_beginning_is_over,
    ),
    "a correction of what is closed": (
        "_FEEDBACK",
        "all[BEGUN + i - 1] == begun_then[i]",
        "true",
        shown.test_a_correction_changes_nothing_in_what_was_begun_anew,
    ),
    "watched again": (
        "_COMMIT",
        "if put.state == 'active' then watch_again(evidence, put.id) end",
        "",
        shown.test_a_lesson_that_becomes_active_again_has_nothing_against_it,
    ),
    "tried again": (
        "_COMMIT",
        "if put.state == 'trial' then try_again(evidence, put.id) end",
        "",
        shown.test_a_trial_begins_with_no_outcomes_of_an_earlier_one,
    ),
    "voices that are tried again": (
        "_COMMIT",
        "for _, field in ipairs(fields_of(id)) do",
        "for _, field in ipairs({id}) do",
        shown.test_a_trial_begins_with_no_outcomes_of_an_earlier_one,
    ),
    "one outcome of a conversation": (
        "_FEEDBACK",
        "not known and unit and is_listed(evidence, id .. ' units', unit)",
        "false",
        shown.test_of_one_conversation_one_outcome_is_evidence,
    ),
    "a correction of what is no evidence": (
        "_FEEDBACK",
        "begun ~= UNCOUNTED and",
        "",
        shown.test_of_one_conversation_one_outcome_is_evidence,
    ),
    "since when it is watched": (
        "_REPLAYED",
        "redis.call('HSETNX', evidence, id .. ' from', ARGV[7])",
        "redis.call('HSET', evidence, id .. ' from', ARGV[7])",
        shown.test_since_when_an_active_lesson_is_watched_is_known_until_it_becomes_active_again,
    ),
    "watched from anew": (
        "_COMMIT",
        "redis.call('HDEL', evidence, id .. ' from')",
        "",
        shown.test_since_when_an_active_lesson_is_watched_is_known_until_it_becomes_active_again,
    ),
    "the chance of what is withheld": (
        "_FEEDBACK",
        "local _, steps = live_steps(score, shown, 1 - withhold, guess, 0, 0)",
        "local _, steps = live_steps(score, shown, COIN, guess, 0, 0)",
        shown.test_withheld_requests_speak_of_an_active_lesson_with_their_chance,
    ),
    # what is forgotten
    "evidence on another text": (
        "_COMMIT",
        "if redis.call('HDEL', evidence, id .. ' #') == 0 then return end",
        "if true then return end",
        shown.test_a_pair_for_a_lesson_that_has_changed_meanwhile_does_not_count,
    ),
    "evidence on lessons that are gone": (
        "_COMMIT",
        "if redis.call('HDEL', evidence, id .. ' #') == 0 then return end",
        "if true then return end",
        there.test_of_lessons_that_come_and_go_no_field_is_left,
        CLIENT,
    ),
    "voices on lessons that are gone": (
        "_COMMIT",
        "for voice = 0, VOICES - 1 do fields[#fields + 1] = id .. ' ' .. voice end",
        "",
        there.test_of_lessons_that_come_and_go_no_field_is_left,
        CLIENT,
    ),
    "a bound of voices": (
        "_REPLAYED",
        "16) % VOICES",
        "16)",
        there.test_however_many_principals_speak_its_fields_are_bounded,
        CLIENT,
    ),
    "numbers of changes by the clock": (
        "_REPLAYED",
        "' #') or 0) + 1, now_ms())",
        "' #') or 0) + 1, 0)",
        there.test_after_a_loss_of_data_no_number_of_a_change_comes_again,
        CLIENT,
    ),
    # the archive
    "the bounds of the archive": (
        "_COMMIT",
        "while bytes > settle.max_archive_bytes or redis.call('ZCARD', archived) > "
        "settle.max_archived do",
        "while false do",
        kept.test_the_archive_has_bounds_and_the_oldest_go,
    ),
    "bytes that leave the archive": (
        "_COMMIT",
        "redis.call('HINCRBY', at.traffic, 'archive_bytes', -size)",
        "",
        there.test_bytes_that_are_counted_are_those_of_the_archive,
        CLIENT,
    ),
    "one that is too large": (
        "_COMMIT",
        "#settle.archive <= settle.max_archive_bytes and",
        "",
        kept.test_an_episode_that_alone_is_too_large_pushes_out_no_other,
    ),
    "nothing of what was purged": (
        "_COMMIT",
        "and not is_purged(settle)",
        "",
        kept.test_what_settles_after_its_source_was_purged_is_not_archived,
    ),
    "one step": (
        "_COMMIT",
        "if settle and not undone then\n",
        "if settle then\n",
        kept.test_what_is_refused_as_a_whole_settles_and_archives_nothing,
    ),
    "who is late archives nothing": (
        "_COMMIT",
        "if settle and holder(at, settle.seq) ~= settle.fence then return "
        "redis.error_reply('TEDFENCED') end",
        "",
        kept.test_who_comes_too_late_archives_nothing,
    ),
    "bytes that are taken out": (
        "_FORGET_ARCHIVED",
        "redis.call('HINCRBY', at.traffic, 'archive_bytes', -size)",
        "",
        kept.test_what_is_taken_out_makes_room,
    ),
    "what is taken out is out of the list": (
        "_FORGET_ARCHIVED",
        "redis.call('ZREM', at.archived, seq)",
        "",
        there.test_bytes_that_are_counted_are_those_of_the_archive,
        CLIENT,
    ),
}
