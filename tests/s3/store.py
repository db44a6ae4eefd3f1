"""An S3 to test against: moto behind a proxy that knows one access key and can fail.

    store.py --key AKID [--faults 0.05 --seed 1]

Prints `ready http://127.0.0.1:PORT` and serves until its standard input closes. It has one bucket, `lake`.
Of the requests, the given share fails as S3 and networks do: 500, 503, the connection closed before the request was
done, or after it was done and before the answer. What a line of standard input says is done and answered with a line:
`faults SHARE`, `stats`, `keys` (of all objects).
"""
import argparse
import http.client
import logging
import random
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from moto.server import ThreadedMotoServer

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message><RequestId>1</RequestId></Error>'
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class State:
    def __init__(self, arguments, upstream):
        self.lock = threading.Lock()
        self.chance = random.Random(arguments.seed)
        self.share, self.key, self.upstream = arguments.faults, arguments.key, upstream
        self.requests, self.failed, self.by_method = 0, 0, {}

    def fate(self, method):
        with self.lock:
            self.requests += 1
            self.by_method[method] = self.by_method.get(method, 0) + 1
            if self.chance.random() >= self.share:
                return None
            self.failed += 1
            return self.chance.choice(["500", "503", "before", "after"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def handle_any(self):
        body = self.body()
        if f"Credential={self.state.key}/" not in self.headers.get("Authorization", ""):
            code, text = "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
            return self.answer(403, {}, ERROR.format(code, text).encode())
        fate = self.state.fate(self.command)
        if fate == "500":
            return self.answer(500, {}, ERROR.format("InternalError", "We encountered an internal error.").encode())
        if fate == "503":
            return self.answer(503, {}, ERROR.format("SlowDown", "Please reduce your request rate.").encode())
        if fate == "before":
            return self.hang_up()
        upstream = http.client.HTTPConnection(*self.state.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fate == "after":
            return self.hang_up()
        length = answer.headers["Content-Length"] if self.command == "HEAD" else None
        self.answer(answer.status, dict(answer.headers.items()), content, length)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def body(self):
        """All of it; what is sent in chunks goes on in one piece."""
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # a trailer
        return b"".join(chunks)

    def answer(self, status, headers, content, length=None):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def hang_up(self):
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_):
        pass

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass  # it was hung up on, as wanted


class Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", required=True)
    parser.add_argument("--faults", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    upstream = moto.get_host_and_port()
    endpoint = "http://{}:{}".format(*upstream)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.create_bucket(Bucket="lake")
    state = Handler.state = State(arguments, upstream)
    proxy = Proxy(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    print(f"ready http://127.0.0.1:{proxy.server_port}", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "faults":
            state.share = float(words[1])
            print("ok", flush=True)
        elif words[0] == "stats":
            counts = " ".join(f"{method}={count}" for method, count in sorted(state.by_method.items()))
            print(f"requests={state.requests} failed={state.failed} {counts}", flush=True)
        elif words[0] == "keys":
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="lake")
            print(" ".join(entry["Key"] for page in pages for entry in page.get("Contents", [])), flush=True)


main()
