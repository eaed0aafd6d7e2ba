"""A browser's tab without the browser, for as long as it is left to run: `python -m benchmarks.tab ADDRESS PAGE QUERY`.

It asks the server for what a tab does, the refreshes too, when the server says, and throws the answers away. So a
server can be watched at work without a browser beside it, which in life is on another machine.
"""

import sys
import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect


def watch(address: str, page: str, query: str) -> None:
    """Look at `page` of the app at `address` (`http://…`) until the server goes."""
    with connect(
        f"ws{address.removeprefix('http')}/_stcore/stream", subprotocols=["streamlit"], origin=address, max_size=None
    ) as socket:

        def ask(fragment: str = "") -> None:
            message = BackMsg()
            wish = message.rerun_script
            wish.page_name, wish.query_string, wish.fragment_id = page, query, fragment
            wish.is_auto_rerun = bool(fragment)
            socket.send(message.SerializeToString())

        ask()
        every: dict[str, float] = {}
        due: dict[str, float] = {}
        while True:
            try:
                answer = ForwardMsg.FromString(
                    socket.recv(timeout=max(0.0, min(due.values(), default=1e9) - time.monotonic()))
                )
            except TimeoutError:
                fragment = min(due, key=due.__getitem__)
                due[fragment] = time.monotonic() + every[fragment]
                ask(fragment)
                continue
            match answer.WhichOneof("type"):
                case "auto_rerun":
                    fragment = answer.auto_rerun.fragment_id
                    every[fragment] = answer.auto_rerun.interval
                    due[fragment] = time.monotonic() + every[fragment]
                case "stop_auto_rerun":
                    for fragment in answer.stop_auto_rerun.fragment_ids:
                        due.pop(fragment, None)


if __name__ == "__main__":
    watch(*sys.argv[1:])
