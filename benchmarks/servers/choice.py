"""The servers by name."""

from __future__ import annotations

from functools import partial
from typing import Callable, Dict, List, Optional, Sequence, Type

from benchmarks.servers.base import Server
from benchmarks.servers.ours import Ours
from benchmarks.servers.peers import SAME, BentoML, LitServe, MLServer, Peer
from benchmarks.servers.stock import StockParts, StockWrapper, StockWrapperV2
from benchmarks.servers.strong_peers import Mosec, RayServe, Triton
from benchmarks.servers.torchserve import TorchServe, TorchServeBatched
from benchmarks.servers.tuned import Tuned

SHORT_NAMES = ["ours", "torchserve"]
PEERS: Dict[str, Type[Peer]] = {
    one.name: one
    for one in (Mosec, Triton, RayServe, MLServer, LitServe, BentoML)  # the strongest first
}
#: As their users would set them up, and with this project's decode and forward inside.
PEER_NAMES = [*PEERS, *(name + SAME for name in PEERS)]
STOCK_NAMES = ["stock-v1", "stock-v2"]
ALL = ["ours", "torchserve", "torchserve-batched", *PEER_NAMES, *STOCK_NAMES]


def choose(
    names: Sequence[str],
    peer_network: str,
    stock: Optional[StockParts],
    windows_ms: Sequence[float],
    connections: Sequence[int],
) -> List[Server]:
    """The servers of ``names``, not started; the stock wrapper's are left out where its parts are not given.

    Args:
        windows_ms: the peers' batching delays to try, for each of these numbers of ``connections``.
    """
    makers: Dict[str, Callable[[], Server]] = {
        "ours": Ours,
        "torchserve": TorchServe,
        "torchserve-batched": TorchServeBatched,
    }
    for name, kind in PEERS.items():
        for full, network in ((name, peer_network), (name + SAME, "ours")):
            makers[full] = partial(_peer, kind, network, windows_ms, connections)
    if stock is not None:
        makers["stock-v1"] = lambda: StockWrapper(stock)
        makers["stock-v2"] = lambda: StockWrapperV2(stock)
    return [makers[name]() for name in names if name in makers]


def _peer(kind: Type[Peer], network: str, windows_ms: Sequence[float], connections: Sequence[int]) -> Server:
    """A peer that is tuned, or as it is where there is nothing to choose."""
    if not kind.has_window or len(windows_ms) == 1:
        return kind(network, windows_ms[0])
    return Tuned(partial(kind, network), windows_ms, connections)
