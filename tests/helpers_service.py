"""A stand-in for the archive's catalogue service."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

__all__ = ["HEADER", "ROWS", "Service"]

HEADER = "# a remark\nobjID,ra,dec,mag,pmra,pmdec,epoch,other\n"
ROWS = "11,150.1,2.2,17.5,3.0,-4.0,2016.0,a\n12,150.2,2.3,19.5,,,2016.0,b\n13,150.3,2.1,14.5,0.5,0.25,2016.0,c\n"


class Service:
    """Answers every request with the same text and remembers what was asked."""

    def __init__(self):
        self.text, self.status, self.delay, self.asked = HEADER + ROWS, 200, 0.0, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                time.sleep(outer.delay)
                try:
                    self.send_response(outer.status)
                    self.end_headers()
                    self.wfile.write(outer.text.encode())
                except OSError:
                    return  # who asked did not wait

            def log_message(self, *_args):
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webservices"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
