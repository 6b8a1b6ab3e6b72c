"""The law: what a client gets in company is what it gets alone, whatever the handler does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_wrapper.batching.batcher import Batcher
from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.core.calls import Call, ModelCapacity, ModelMetadata, Reply, TensorMetadata, V1Call
from kserve_wrapper.core.errors import WrapperError
from tests.unit.kserve_wrapper.batching.handlers import BAD, BY_ROW, OTHERS, WORSE, Handler, HandlerUpstream, v2
from tests.unit.kserve_wrapper.batching.virtual_time import run

INPUTS = [TensorMetadata("in", "INT64", (-1, -1))]
#: What handlers tell of themselves: nothing; that they answer by row; all that this project's own tell.
KINDS = {
    "silent": ModelMetadata("m", ["1"]),
    "by row": ModelMetadata("m", ["1"], extensions=["independent_rows"]),
    "ours": ModelMetadata(
        "m", ["1"], inputs=INPUTS, extensions=["binary_tensor_data", "row_errors", "independent_rows"]
    ),
    "ours, not by row": ModelMetadata("m", ["1"], inputs=INPUTS, extensions=["binary_tensor_data", "row_errors"]),
    "reads a header": ModelMetadata(
        "m", ["1"], extensions=["independent_rows"], request_headers=["x-tenant"], inputs=INPUTS
    ),
}


@dataclass(frozen=True)
class Asked:
    rows: Tuple[Tuple[int, ...], ...]
    v2: bool
    tenant: bytes
    arrives: float

    def call(self) -> Call:
        rows = [list(row) for row in self.rows]
        headers = {b"x-tenant": self.tenant, b"authorization": b"secret"}
        if self.v2:
            return v2(rows, headers=headers)
        return V1Call("m", None, False, rows, headers=headers)


def asked() -> st.SearchStrategy[Asked]:
    number = st.integers(-2, 20)
    rows = st.integers(1, 3).flatmap(
        lambda width: st.lists(st.tuples(*[number] * width), min_size=1, max_size=3).map(tuple)
    )
    return st.builds(
        Asked,
        rows=rows,
        v2=st.booleans(),
        tenant=st.sampled_from([b"a", b"b"]),
        arrives=st.integers(0, 3).map(lambda tenths: tenths / 10),
    )


def told(outcome: Any) -> Any:
    """What a client sees of an outcome, equal but for how many bytes were read."""
    if isinstance(outcome, WrapperError):
        return type(outcome), outcome.status, outcome.message, outcome.rows
    assert isinstance(outcome, Reply.__args__), outcome  # type: ignore[attr-defined]
    return outcome


async def ask(
    handler: Handler, metadata: ModelMetadata, delays: List[float], everyone: List[Asked], **capacity: Any
) -> Tuple[List[Any], List[int]]:
    loop = asyncio.get_running_loop()
    upstream = HandlerUpstream(handler, delays)
    batcher = Batcher(
        upstream.send,
        BatchingLimits(),
        lambda model, version: ModelCapacity(**capacity),
        lambda model, version: metadata,
        clock=loop.time,
    )

    async def one(who: Asked) -> Reply:
        await asyncio.sleep(who.arrives)
        return await batcher.submit(who.call(), loop.time() + 1000.0)

    outcomes = await asyncio.gather(*[one(who) for who in everyone], return_exceptions=True)
    await batcher.drain(0.0)
    return [told(outcome) for outcome in outcomes], upstream.sends


async def alone(handler: Handler, metadata: ModelMetadata, everyone: List[Asked]) -> List[Any]:
    return [(await ask(handler, metadata, [0.1], [who], workers=1))[0][0] for who in everyone]


DECLARED = [(handler, kind) for handler in BY_ROW for kind in KINDS]
UNDECLARED = [(handler, kind) for handler in OTHERS for kind in ("silent", "ours, not by row")]


@settings(max_examples=300)
@given(
    st.sampled_from([*DECLARED, *UNDECLARED, ("tenant", "reads a header")]),
    st.lists(asked(), min_size=2, max_size=24),
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 3.0]), min_size=1, max_size=4),
    st.integers(1, 3),
    st.sampled_from([None, 1, 4]),
)
def test_what_a_client_gets_in_company_is_what_it_gets_alone(
    case: Tuple[str, str], everyone: List[Asked], delays: List[float], workers: int, batch_size: Any
) -> None:
    handler, metadata = {**BY_ROW, **OTHERS}[case[0]], KINDS[case[1]]

    async def main() -> None:
        wanted = await alone(handler, metadata, everyone)
        got, sends = await ask(handler, metadata, delays, everyone, workers=workers, batch_size=batch_size)
        assert got == wanted
        assert len(sends) < 2 * len(everyone)

    run(main())


@pytest.mark.parametrize("kind", ["silent", "ours, not by row"])
def test_a_handler_that_declares_nothing_never_gets_the_rows_of_two_clients(kind: str) -> None:
    async def main() -> None:
        everyone = [Asked(((number,),), False, b"a", 0.0) for number in range(32)]
        _, sends = await ask(OTHERS["first row"], KINDS[kind], [0.1], everyone, workers=1)
        assert sends == [1] * 32

    run(main())


@pytest.mark.parametrize("kind", ["by row", "ours"])
def test_a_handler_that_declares_it_gets_them_together(kind: str) -> None:
    async def main() -> None:
        everyone = [Asked(((number,),), False, b"a", 0.0) for number in range(32)]
        _, sends = await ask(BY_ROW["echo"], KINDS[kind], [0.1], everyone, workers=1)
        assert sends == [32]

    run(main())


@pytest.mark.parametrize("bad", [BAD, WORSE])
def test_the_law_can_fail(bad: int) -> None:
    """A handler that is declared and lies gets found out where its answers show it, and is no case of the law."""

    async def main() -> None:
        everyone = [Asked(((number,), (bad,)), False, b"a", 0.0) for number in range(4)]
        wanted = await alone(OTHERS["total"], KINDS["by row"], everyone)
        got, _ = await ask(OTHERS["total"], KINDS["by row"], [0.1], everyone, workers=1)
        assert got != wanted

    run(main())


def test_headers_of_one_client_are_not_told_for_another() -> None:
    seen: List[Mapping[str, str]] = []

    def remember(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
        seen.append(headers)
        return rows

    async def main(kind: str) -> List[Dict[str, str]]:
        seen.clear()
        everyone = [Asked(((number,),), False, tenant, 0.0) for number, tenant in enumerate([b"a", b"b", b"a"])]
        await ask(remember, KINDS[kind], [0.1], everyone, workers=1)
        return [dict(headers) for headers in seen]

    assert run(main("silent")) == [{"x-tenant": "a"}, {"x-tenant": "b"}, {"x-tenant": "a"}]
    assert run(main("by row")) == [{}]
    assert run(main("reads a header")) == [{"x-tenant": "a"}, {"x-tenant": "b"}]
