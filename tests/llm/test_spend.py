"""What calls cost: as the provider says, else estimated and marked so."""

from langchain_core.messages import AIMessage, HumanMessage

from ted_memory import TedMemory
from ted_memory.llm.spend import RoleSpend, Spend, add_spend
from tests.distill.scripts import one_pass, sample, student, teacher


def test_the_providers_own_figures_are_taken() -> None:
    told = AIMessage(
        "x" * 400, usage_metadata={"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    )
    spend = Spend.of("student", [HumanMessage("y" * 400)], told)
    assert spend.student == RoleSpend(calls=1, tokens_in=7, tokens_out=3)
    assert spend.teacher == RoleSpend()


def test_without_them_bytes_are_counted_and_that_is_said() -> None:
    spend = Spend.of("teacher", [HumanMessage("y" * 8), HumanMessage("ä" * 4)], AIMessage("x" * 5))
    assert spend.teacher == RoleSpend(calls=1, tokens_in=4, tokens_out=2, estimated=1)


def test_half_a_character_costs_too() -> None:
    assert Spend.of("student", [], AIMessage("\ud800")).student.tokens_out == 1


def test_costs_add_up_also_in_their_json_form() -> None:
    one = Spend(student=RoleSpend(calls=1, tokens_in=2, tokens_out=3, estimated=1))
    assert add_spend(one.model_dump(), one.model_dump()) == (one + one).model_dump()
    assert add_spend({}, one.model_dump()) == one.model_dump()
    assert (one + one).student == RoleSpend(calls=2, tokens_in=4, tokens_out=6, estimated=2)


async def test_every_call_of_a_pass_is_counted(scratch: TedMemory) -> None:
    answering, teaching = student(), teacher()
    out = await one_pass(scratch, sample("apples"), student=answering, teacher=teaching)
    assert out["spend"]["student"]["calls"] == len(answering.asked) > 7
    assert out["spend"]["teacher"]["calls"] == len(teaching.asked) == 2
    assert out["spend"]["student"]["estimated"] == len(answering.asked)
