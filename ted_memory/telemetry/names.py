"""How the conventions call things, and how we call what they have no name for.

The first part is the development version of the conventions for generative AI
(https://github.com/open-telemetry/semantic-conventions-genai). `docs/guides/traces.md` says what
each of these means here.
"""

SCOPE = "ted_memory"

# --- of the conventions

OPERATION = "gen_ai.operation.name"
STORE = "gen_ai.memory.store.id"
RECORD = "gen_ai.memory.record.id"
RECORD_COUNT = "gen_ai.memory.record.count"
QUERY = "gen_ai.memory.query.text"
RECORDS = "gen_ai.memory.records"
RESPONSE = "gen_ai.response.id"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - of a model's tokens
ERROR = "error.type"

EVALUATION = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
SCORE = "gen_ai.evaluation.score.value"
LABEL = "gen_ai.evaluation.score.label"
EXPLANATION = "gen_ai.evaluation.explanation"

SEARCH = "search_memory"
CREATE = "create_memory"
UPDATE = "update_memory"
UPSERT = "upsert_memory"
DELETE = "delete_memory"
DELETE_STORE = "delete_memory_store"

# --- ours

SEEN = "ted_memory.lessons.seen"
WITHHELD = "ted_memory.lessons.withheld"
CHANGED = "ted_memory.lessons.changed"
REFUSED = "ted_memory.edits.refused"
VERSION = "ted_memory.set.version"
RUN = "ted_memory.run.id"
OUTCOME = "ted_memory.outcome"
VERDICT = "ted_memory.feedback.verdict"
MOVE = "ted_memory.lesson.move"
ROLE = "ted_memory.role"
STAGE = "ted_memory.stage"
LEARN = "ted_memory.learn"
"""The span of one episode."""
