"""The servers by name."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence

from benchmarks.servers.base import Server
from benchmarks.servers.ours import Ours
from benchmarks.servers.peers import BentoML, LitServe, MLServer
from benchmarks.servers.stock import StockParts, StockWrapper, StockWrapperV2
from benchmarks.servers.torchserve import TorchServe, TorchServeBatched

SHORT_NAMES = ["ours", "torchserve"]
PEER_NAMES = ["mlserver", "litserve", "bentoml"]
STOCK_NAMES = ["stock-v1", "stock-v2"]
ALL = ["ours", "torchserve", "torchserve-batched", *PEER_NAMES, *STOCK_NAMES]


def choose(names: Sequence[str], peer_network: str, stock: Optional[StockParts]) -> List[Server]:
    """The servers of ``names``, not started; the stock wrapper's are left out where its parts are not given."""
    makers: Dict[str, Callable[[], Server]] = {
        "ours": Ours,
        "torchserve": TorchServe,
        "torchserve-batched": TorchServeBatched,
        "mlserver": lambda: MLServer(peer_network),
        "litserve": lambda: LitServe(peer_network),
        "bentoml": lambda: BentoML(peer_network),
    }
    if stock is not None:
        makers["stock-v1"] = lambda: StockWrapper(stock)
        makers["stock-v2"] = lambda: StockWrapperV2(stock)
    return [makers[name]() for name in names if name in makers]
