"""Rules and references downloaded from a server: a small one on this machine that speaks CRDS's JSON-RPC."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jwnb.errors import MissingReferenceError
from jwnb.references import prefetch, resolve

CONTEXT = "jwst_0007.pmap"


class Server:
    """Serves the mappings and references of a folder, and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(request["method"])
                result, error = outer.answer(request["method"])
                self.reply(json.dumps({"jsonrpc": "1.0", "id": request["id"], "result": result, "error": error}).encode())

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.reply((outer.folder / self.path.strip("/")).read_bytes())

            def reply(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, method: str) -> tuple[object, object]:
        if method == "get_server_info":
            return self.info(), None
        if method in ("get_build_context", "get_default_context"):
            return CONTEXT, None
        if method == "get_mapping_names":
            return [path.name for path in self.folder.glob("mappings/*")], None
        return None, {"message": f"no {method} here"}

    def info(self) -> dict:
        from crds.client.proxy import crds_encode

        files = [path for path in self.folder.glob("*/*") if path.is_file()]
        known = {p.name: {"size": str(p.stat().st_size), "sha1sum": hashlib.sha1(p.read_bytes()).hexdigest()} for p in files}
        return dict(
            observatory="jwst", operational_context=CONTEXT, latest_context=CONTEXT, edit_context=CONTEXT, bad_files="",
            bad_files_list=[], crds_version={"str": "13.0"}, status="s", connected=True, force_remote_mode=False,
            last_synced="2024-01-01 00:00:00", reference_url={"jwst": f"{self.url}/references/"},
            mapping_url={"jwst": f"{self.url}/mappings/"}, config_url={"jwst": "none"}, pickle_url={"jwst": "none"}, mappings=[],
            context_names=[CONTEXT], sql_info={}, download_metadata=crds_encode(known),
        )  # fmt: skip

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server(crds_cache, tmp_path, monkeypatch):
    """A server with the rules of the cache, and then an empty cache."""
    crds_cache.write({"dark": "jwst_nircam_dark_0001.fits", "gain": "jwst_nircam_gain_0001.fits", "reset": "N/A"})
    served = tmp_path / "served"
    (served / "references").mkdir(parents=True)
    (crds_cache.folder / "mappings/jwst").rename(served / "mappings")
    (served / "references/jwst_nircam_dark_0001.fits").write_text("a dark")
    (crds_cache.folder / "mappings/jwst").mkdir()
    (crds_cache.folder / "config/jwst/server_config").unlink()
    server = Server(served)
    monkeypatch.setenv("CRDS_SERVER_URL", server.url)
    yield server
    server.close()


def test_rules_and_references_are_downloaded_once(server, crds_cache, make_exposure, capfd):
    exposure = make_exposure()

    found = prefetch(exposure, ["dark", "reset", "gain"])

    assert found["dark"].path == crds_cache.folder / "references/jwst/jwst_nircam_dark_0001.fits"
    assert found["dark"].path.read_text() == "a dark"
    assert (found["dark"].context, found["reset"].name) == (CONTEXT, "N/A")
    # The rules name a gain that the server does not have.
    assert isinstance(found["gain"], MissingReferenceError)
    assert "jwst_nircam_gain_0001.fits was chosen, but is not in the cache" in str(found["gain"])
    assert capfd.readouterr() == ("", "")

    asked = len(server.asked)
    assert resolve(exposure, "dark").path == found["dark"].path
    assert len(server.asked) == asked


def test_the_cache_then_works_without_the_server(server, make_exposure, monkeypatch):
    resolve(make_exposure(), "dark")
    asked = len(server.asked)

    monkeypatch.setenv("CRDS_SERVER_URL", "https://jwst-serverless.stsci.edu")

    assert resolve(make_exposure(), "dark").name == "crds://jwst_nircam_dark_0001.fits"
    assert len(server.asked) == asked


def test_a_file_by_its_name_is_downloaded(server, make_exposure):
    found = resolve(make_exposure(), "dark", "crds://jwst_nircam_dark_0001.fits")
    assert found.path.read_text() == "a dark"
