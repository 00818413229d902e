"""The way to a scheduler: whoever mistypes it, or finds somebody else there, hears so in seconds."""

import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
from cluster_tools import TERMS
from fault_tools import bench, is_a_users_error, tiny
from grid_tools import changed

from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.options import Options
from bench.progress import PlainDisplay
from bench.runner import Grid, Unheard
from bench.workers.engage import engage

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers there"),
        ("nothing://127.0.0.1:9", "no Dask scheduler answers there"),
        ("tls://127.0.0.1:9", "where TLS has its certificates"),
    ],
)
def test_a_cluster_that_does_not_answer_is_named_in_one_line(tmp_path, address, said):
    done = bench("run", tiny(tmp_path), "--mlflow", "off", "--results", tmp_path, "--cluster", address)
    assert is_a_users_error(done)
    assert said in done.stderr


class Answering(socketserver.BaseRequestHandler):
    """Somebody else, who says something that is no Dask."""

    def handle(self):
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)


class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(2**20)
        time.sleep(60)


@contextlib.contextmanager
def listening(handler) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "tcp://{}:{}".format(*server.server_address)
        server.shutdown()


@pytest.mark.parametrize("address", ["foo", "tcp://nosuchhost.invalid:8786", "tcp://127.0.0.1:1"])
def test_a_mistyped_address_is_answered_in_seconds(address):
    begun = time.monotonic()
    with pytest.raises(UserError, match="no Dask scheduler answers there"):
        engage(TERMS, cluster=address).reach()
    assert time.monotonic() - begun < 8  # three, and what the machine is at besides


@pytest.mark.parametrize("handler", [Answering, Silent])
def test_somebody_who_is_no_scheduler_is_not_waited_for_without_end(handler, monkeypatch):
    monkeypatch.setattr("bench.workers.connection.CONNECT_S", 2)
    with listening(handler) as address, pytest.raises(UserError, match="no Dask scheduler answers there"):
        engage(TERMS, cluster=address).reach()


@pytest.mark.usefixtures("no_data")
def test_a_grid_asks_whether_its_cluster_is_there_before_it_brings_data(small, tmp_path):
    asked = changed(small, datasets=["cora"])
    grid = Grid(asked, ResultsFolder(tmp_path / "grid"), PlainDisplay(), Unheard(), Options(cluster="foo"))
    with pytest.raises(UserError, match="--cluster foo"):
        grid.run()
    assert list(tmp_path.iterdir()) == []
