"""Families of tasks that show what lessons do, and where they do nothing."""

from examples.families.bfcl import BFCL
from examples.families.desks import HELPDESK, MUSEUM, TOWNHALL
from examples.families.family import Family, Rule, Split
from examples.families.loglines import LOGLINES
from examples.families.policies import METHODS, POLICY_CASES
from examples.families.public import DATES, INTENTS, MACHINE_LISTS
from examples.families.replies import REPLIES
from examples.families.tools import TOOLS

ALL = (
    HELPDESK,
    TOWNHALL,
    MUSEUM,
    REPLIES,
    LOGLINES,
    METHODS,
    TOOLS,
    BFCL,
    INTENTS,
    MACHINE_LISTS,
    POLICY_CASES,
    DATES,
)
FAMILIES: dict[str, Family] = {family.name: family for family in ALL}

__all__ = ["FAMILIES", "Family", "Rule", "Split"]
